from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnctl.report import masks_plots


def row(name: str, iou: float | None, interval: list[float] | None = None) -> dict[str, Any]:
    return {"class": name, "iou": iou, "iou_interval": interval}


def height(file: Path) -> int:
    with Image.open(file) as picture:
        assert (np.asarray(picture.convert("L")) < 128).any()
        return picture.size[1]


def drawn(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], file: Path) -> Any:
    """The axes of the picture, after it was written."""
    made: list[Any] = []
    save = masks_plots.picture.save
    monkeypatch.setattr(
        masks_plots.picture, "save", lambda draw, path: made.append(draw()) or save(draw, path)
    )
    masks_plots.classes(rows, "8 images of test", file)
    return made[0].axes[0]


def test_the_best_class_stands_on_top(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [row("b", 0.5, [0.4, 0.6]), row("never", None), row("a", 0.9), row("$c_", 0.1)]
    axes = drawn(monkeypatch, rows, tmp_path / "classes.png")
    assert [bar.get_width() for bar in axes.patches] == [0.1, 0.5, 0.9]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["$c_", "b", "a"]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.4, 0.6]]
    assert {text.get_text() for text in axes.texts} == {"10.00 %", "50.00 %", "90.00 %"}
    assert height(tmp_path / "classes.png") > 100


def test_of_many_classes_the_worst_are_shown(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    rows = [row(f"class {number}", number / 100) for number in range(100)]
    axes = drawn(monkeypatch, rows, tmp_path / "classes.png")
    assert len(axes.patches) == masks_plots.MOST
    assert axes.patches[-1].get_width() == pytest.approx((masks_plots.MOST - 1) / 100)


def test_no_class_at_all_is_a_picture_too(tmp_path: Path) -> None:
    masks_plots.classes([row("a", None)], "nothing", tmp_path / "classes.png")
    assert height(tmp_path / "classes.png") > 50
