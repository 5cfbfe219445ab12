from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from answered import guessed

from cnnctl.commands import kept
from cnnctl.commands.kept import Part, keep
from cnnctl.data.source import Stored
from cnnctl.errors import RunError
from cnnctl.scoring import calibration, figures, predictions

TRAIN: Any = SimpleNamespace(outputs="here", data=SimpleNamespace(name="digits"))


def part(skill: float = 1.0) -> Part:
    found = predictions.of(guessed(40, 3, skill=skill))
    told = figures.figures(found, 0) | {
        "split": "test", "robustness": None,
        "calibration": calibration.calibration(found, None, "none"),
    }  # fmt: skip
    pixels = torch.zeros(40, 1, 4, 4, dtype=torch.uint8)
    return Part(found, told, Stored(pixels, found.scores.labels.numpy()))


def asked(predictions: str = "csv", mistakes: int = 2) -> Any:
    return SimpleNamespace(predictions=predictions, mistakes=mistakes)


def files() -> list[str]:
    (folder,) = Path("here/evaluate").iterdir()
    return sorted(file.name for file in folder.iterdir())


def test_everything_is_kept_in_a_folder_of_its_own() -> None:
    one = part()
    whole = keep(asked(), TRAIN, "lenet5", one.told, [one])
    assert whole is one.told
    assert files() == sorted(whole["files"])
    assert whole["files"] == [
        "result.json", "predictions.csv", "mistakes.png", "reliability.png", "confusion.png"
    ]  # fmt: skip
    folder = Path(whole["folder"])
    assert json.loads((folder / "result.json").read_text()) == whole
    assert whole["predictions"] == str(folder / "predictions.csv")
    assert "_lenet5_digits_" in folder.name


@pytest.mark.parametrize(
    ("given", "missing", "there"),
    [
        (asked("parquet"), "predictions.csv", "predictions.parquet"),
        (asked("none"), "predictions.csv", "mistakes.png"),
        (asked(mistakes=0), "mistakes.png", "predictions.csv"),
    ],
)
def test_what_is_not_asked_for_is_not_kept(given, missing: str, there: str) -> None:
    one = part()
    keep(given, TRAIN, "net", one.told, [one])
    assert missing not in files()
    assert there in files()
    assert (one.told["predictions"] is None) is (given.predictions == "none")


def test_a_net_without_mistakes_has_no_picture_of_them() -> None:
    one = part(skill=100)
    keep(asked(), TRAIN, "net", one.told, [one])
    assert "mistakes.png" not in files()


def test_of_two_nets_each_has_its_files() -> None:
    parts = [part(), part(skill=100)]
    whole = {"nets": [one.told for one in parts]}
    keep(asked(), TRAIN, "compare", whole, parts)
    assert [name for name in files() if name.startswith(("mistakes", "predictions"))] == [
        "mistakes_1.png", "predictions_1.csv", "predictions_2.csv"
    ]  # fmt: skip
    for number, one in enumerate(parts, start=1):
        assert one.told["predictions"].endswith(f"/predictions_{number}.csv")


def test_a_mistake_is_shown_with_what_it_is() -> None:
    one = part()
    (place,) = predictions.mistakes(one.found, 1)
    told = kept._mistake(one, place)
    assert told["pixels"].shape == (1, 4, 4)
    assert told["true"] == f"class {one.found.scores.labels[place]}" != told["predicted"]
    assert told["probability"] == float(one.found.probability[place])


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(OSError(errno.ENOSPC, "No space left on device"), RunError), (KeyboardInterrupt(), None)],
)
def test_nothing_is_left_of_what_cannot_be_finished(monkeypatch, wrong, error) -> None:
    def fail(*_: Any) -> None:
        raise wrong

    monkeypatch.setattr(kept.plots, "confusion", fail)
    one = part()
    with pytest.raises(error or type(wrong)) as caught:
        keep(asked(), TRAIN, "net", one.told, [one])
    assert list(Path("here/evaluate").iterdir()) == []
    if error:
        assert "No space left on device (choose another folder with outputs=…)" in str(caught.value)
