from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from judged import asked, noisy, pairs
from PIL import Image

from cnnctl.commands import kept_masks
from cnnctl.commands.kept_masks import Part
from cnnctl.errors import RunError
from cnnctl.report.masks_sheet import TILE
from cnnctl.report.sheet import GAP
from cnnctl.scoring import masks, masks_figures
from cnnctl.scoring.masks import Judging

PLOTS = ("masks", "classes", "confusion")


def part(worst: int = 2) -> Part:
    judging = Judging("test", worst=worst)
    (found,) = masks.score([asked(noisy(1))], judging, lambda *_: None)
    return Part(found, {"split": "test", **masks_figures.figures(found, 0)}, pairs())


def keep(parts: list[Part], kind: str = "csv", whole: Any = None) -> dict[str, Any]:
    train: Any = SimpleNamespace(outputs="here", data=SimpleNamespace(name="shapes"))
    evaluate: Any = SimpleNamespace(predictions=kind)
    return kept_masks.keep(evaluate, train, "unet", whole or parts[0].told, parts)


def test_one_net_has_files_without_numbers() -> None:
    whole = keep([part()])
    assert whole["files"] == ["result.json", "predictions.csv", *(f"{one}.png" for one in PLOTS)]
    folder = Path(whole["folder"])
    assert {file.name for file in folder.iterdir()} == set(whole["files"])
    assert whole["predictions"] == str(folder / "predictions.csv")


def test_of_several_each_has_its_own() -> None:
    parts, whole = [part(), part()], {"n": 6}
    found = keep(parts, "parquet", whole)
    assert found["files"] == ["result.json"] + [
        name
        for number in (1, 2)
        for name in (
            f"predictions_{number}.parquet", *(f"{one}_{number}.png" for one in PLOTS),
        )
    ]  # fmt: skip
    for number, one in enumerate(parts, start=1):
        assert one.told["predictions"].endswith(f"predictions_{number}.parquet")


def test_what_is_not_wanted_is_not_written() -> None:
    whole = keep([part(worst=0)], "none")
    assert whole["files"] == ["result.json", "classes.png", "confusion.png"]
    assert whole["predictions"] is None


def test_the_sheet_has_a_row_for_each_of_the_worst() -> None:
    heights = []
    for worst in (1, 4):
        with Image.open(Path(keep([part(worst)])["folder"]) / "masks.png") as sheet:
            heights.append(sheet.size[1])
    side = 8 * (TILE // 8)  # images of 8 pixels and less
    assert heights[1] - heights[0] == 3 * (side + GAP)


def test_nothing_is_left_where_writing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_masks.plots, "confusion", full)
    with pytest.raises(RunError, match="No space left on device"):
        keep([part()])
    assert not list(Path("here/evaluate").iterdir())
