from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from views import FOLDER, OTHER, RUN, lines

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
LONG = "a road with " + "a very " * 8 + "long name"
ENDS = [0.61, 0.72]
NAMES = (
    "miou", "dice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "boundary_f1",
)  # fmt: skip


def classes(number: int) -> list[dict[str, Any]]:
    return [
        {
            "class": f"class {place}" if place else LONG, "pixels": 1000 * (place + 1),
            "iou": 0.9 - place / 30, "iou_interval": [0.2, 0.9 - place / 50], "dice": 0.8,
            "precision": 0.75, "recall": 1.0, "boundary_f1": 0.5,
        }
        for place in range(number)
    ]  # fmt: skip


UNSEEN = {
    "class": "unseen", "pixels": 0, "iou": None, "iou_interval": None, "dice": None,
    "precision": None, "recall": None, "boundary_f1": None,
}  # fmt: skip
EVALUATED: dict[str, Any] = {
    "target": "latest", "run": RUN, "checkpoint": f"{RUN}/checkpoints/best.ckpt",
    "weights_sha256": "0" * 64, "task": "segment", "split": "test", "n": 1449,
    "way": {"flip": False, "tile": None, "boundary": 0.0075},
    "metrics": {**dict.fromkeys(NAMES, 0.6543), "loss": 0.4321},
    "intervals": {**dict.fromkeys(NAMES, ENDS), "loss": [0.41, 0.4567]},
    "per_class": [*classes(3), UNSEEN], "confusion": [[900, 100], [0, 1000]],
    "confused": [{"true": LONG, "predicted": "class 1", "n": 100}],
    "seconds": 61.2, "images_per_second": 23.68, "folder": FOLDER, "predictions": None,
    "files": ["result.json", "predictions.csv", "masks.png", "classes.png", "confusion.png"],
}  # fmt: skip
COMPARISON: dict[str, Any] = {
    "difference": 0.012, "interval": [-0.004, 0.028],
    "dice": {"difference": 0.01, "interval": [-0.01, 0.03]},
    "pixel_accuracy": {"difference": 0.002, "interval": None},
    "boundary_f1": {"difference": -0.02, "interval": [-0.03, -0.01]},
    "loss": {"difference": -0.01204, "interval": [-0.0311, 0.0072]},
    "first_better": 700, "second_better": 740, "alike": 9, "test": "paired bootstrap",
    "better": None, "images_needed": 5372,
}  # fmt: skip
PAIRED: dict[str, Any] = {
    "task": "segment", "split": "test", "n": 1449, "comparison": COMPARISON, "folder": FOLDER,
    "nets": [EVALUATED, {**EVALUATED, "checkpoint": "net.onnx", "run": "net.onnx"}],
    "files": ["result.json", "predictions_1.csv", "predictions_2.csv"],
}  # fmt: skip
TOGETHER: dict[str, Any] = {
    **EVALUATED, "run": None, "checkpoint": None,
    "ensemble": {
        "members": [{**EVALUATED, "checkpoint": f"{path}/best.ckpt"} for path in (RUN, OTHER)],
        "mean_miou": 0.64, "best": 0, "best_miou": 0.65, "gain_over_best": COMPARISON,
        "gain_over_mean": {"difference": 0.014, "interval": [0.003, 0.025]},
    },
}  # fmt: skip
VIEWS = {
    "masks_evaluated": EVALUATED, "masks_paired": PAIRED, "masks_together": TOGETHER,
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("view", VIEWS)
def test_it_is_shown_as_kept(view: str, width: int, *, overwrite: bool) -> None:
    file = GOLDEN / f"{view}_{width}.txt"
    found = "\n".join(line.rstrip() for line in lines(view, VIEWS[view], width)) + "\n"
    if overwrite:
        file.write_text(found)
    assert found == file.read_text()


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("view", VIEWS)
def test_only_paths_are_wider_than_the_terminal(view: str, width: int) -> None:
    shown = lines(view, VIEWS[view], width)
    wide = {line for line in shown if cell_len(line) > width}
    assert all(RUN in line or OTHER in line or FOLDER in line for line in wide)


def row(name: str, data: dict[str, Any]) -> list[str]:
    (found,) = [line for line in lines("masks_evaluated", data) if line.startswith(f"{name}  ")]
    return found.removeprefix(name).split()


def test_a_figure_stands_beside_its_interval() -> None:
    assert row("mean IoU", EVALUATED) == ["65.43", "%", "61.00", "–", "72.00", "%"]
    assert row("loss", EVALUATED) == ["0.4321", "0.41", "–", "0.4567"]
    metrics = {**EVALUATED["metrics"], "boundary_f1": None}
    shown = lines("masks_evaluated", {**EVALUATED, "metrics": metrics})
    assert not [line for line in shown if line.startswith("boundary F1")]


def test_a_class_has_its_share_of_the_pixels() -> None:
    assert row("class 1", EVALUATED)[:4] == ["33.33", "%", "86.67", "%"]
    short = {**EVALUATED, "per_class": [*classes(3)[1:], UNSEEN]}
    assert row("unseen", short) == ["0.00", "%", *"–––––"]


@pytest.mark.parametrize(("number", "shown"), [(21, 21), (22, 10)])
def test_of_many_classes_the_worst_are_shown(number: int, shown: int) -> None:
    found = lines("masks_evaluated", {**EVALUATED, "per_class": classes(number), "confused": []})
    rows = [line for line in found if line.startswith(("class ", "a road")) and "%" in line]
    assert len([line for line in rows if "interval" not in line]) == shown
    assert any("classes with the lowest IoU" in line for line in found) is (number == 22)


def test_a_winner_is_named() -> None:
    wins = {**COMPARISON, "better": 1, "images_needed": None, "interval": [0.004, 0.028]}
    shown = lines("masks_paired", {**PAIRED, "comparison": wins})
    assert "the second is better" in shown
    assert not [line for line in shown if "noise" in line]
    ensemble = {**TOGETHER["ensemble"], "gain_over_best": {**wins, "better": 0}}
    shown = lines("masks_together", {**TOGETHER, "ensemble": ensemble})
    assert "together they are worse than the best net alone" in shown


def test_noise_is_told_with_what_it_would_take() -> None:
    shown = lines("masks_paired", PAIRED)
    assert "within noise: neither is shown to be better" in shown
    assert "a difference of this size would show on about 5,400 images" in shown
    assert any("mean IoU +1.20 % (−0.40 to +2.80 %)" in line for line in shown)
    assert any("loss −0.012 (−0.0311 to +0.0072)" in line for line in shown)


def test_a_file_is_named_once() -> None:
    shown = lines("masks_evaluated", {**EVALUATED, "run": "net.onnx", "checkpoint": "net.onnx"})
    assert "file    net.onnx" in shown
