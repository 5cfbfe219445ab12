"""The folder that an evaluation leaves behind: result.json, predictions, pictures.

outputs/evaluate/2026-11-21_14-03-19_lenet5_digits_7f3a/
    result.json       what --json prints
    predictions.csv   one row per image; .parquet with predictions=parquet
    mistakes.png      what the net was surest of and is wrong
    reliability.png   how often it is right, by what it says
    confusion.png     images by true and predicted class

Of two nets that are compared, each has files of its own: predictions_1.csv, predictions_2.csv.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnctl import runs
from cnnctl.config.schema import Train
from cnnctl.config.verbs import Evaluate
from cnnctl.data.source import Images
from cnnctl.errors import RunError
from cnnctl.report import plots
from cnnctl.report.format import count
from cnnctl.scoring import predictions
from cnnctl.scoring.predictions import Predictions


@dataclass(frozen=True)
class Part:
    """A net's answers, the document about them, and the images that they are about."""

    found: Predictions
    told: dict[str, Any]
    images: Images


def keep(
    evaluate: Evaluate, train: Train, what: str, whole: dict[str, Any], parts: Sequence[Part]
) -> dict[str, Any]:
    """`whole`, with its folder and the names of its files, after it has been written there.

    Raises RunError, leaving no folder, if it cannot be written.
    """

    def write(folder: Path) -> list[str]:
        files = []
        for number, part in enumerate(parts, start=1):
            end = f"_{number}" if len(parts) > 1 else ""
            named = _predictions(part, evaluate, folder, end)
            part.told["predictions"] = str(folder / named[0]) if named else None
            files += [*named, *_pictures(part, evaluate, folder, end)]
        return files

    return filled(train, what, whole, write)


def filled(
    train: Train, what: str, whole: dict[str, Any], write: Callable[[Path], list[str]]
) -> dict[str, Any]:
    """The same, of any task: `write` puts files into the folder and gives their names."""
    folder = runs.create(train.outputs, "evaluate", what, train.data.name, checkpoints=False)
    try:
        files = write(folder)
        whole |= {"folder": str(folder), "files": [runs.RESULT, *files]}
        runs.write_json(folder / runs.RESULT, whole)
    except BaseException as wrong:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(wrong, OSError):
            text = f"cannot write in {folder}: {wrong.strerror or wrong}"
            raise RunError(text, "choose another folder with outputs=…") from wrong
        raise
    return whole


def _predictions(part: Part, evaluate: Evaluate, folder: Path, end: str) -> list[str]:
    if evaluate.predictions == "none":
        return []
    name = f"predictions{end}.{evaluate.predictions}"
    predictions.write(part.found, folder / name)
    return [name]


def _pictures(part: Part, evaluate: Evaluate, folder: Path, end: str) -> list[str]:
    found, told, files = part.found, part.told, list[str]()

    def file(name: str) -> Path:
        files.append(f"{name}{end}.png")
        return folder / files[-1]

    if worst := predictions.mistakes(found, evaluate.mistakes):
        plots.mistakes([_mistake(part, place) for place in worst], file("mistakes"))
    about = f"{count(told['n'])} images of {told['split']}"
    plots.reliability(told["calibration"], about, file("reliability"))
    plots.confusion(told["confusion"], found.scores.classes, file("confusion"))
    if told["robustness"] is not None:
        from cnnctl.report import robustness

        robustness.plot(told["robustness"], file("robustness"))
    return files


def _mistake(part: Part, place: int) -> dict[str, Any]:
    """An image with what it is and what it was taken for."""
    found, names = part.found, part.found.scores.classes
    return {
        "pixels": part.images[place].numpy(),
        "true": names[int(found.scores.labels[place])],
        "predicted": names[int(found.predicted[place])],
        "probability": float(found.probability[place]),
    }
