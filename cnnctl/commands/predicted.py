"""What the answers to image files have in common, whatever the net has learned. Imports torch."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnctl import data, runs
from cnnctl.commands import trained
from cnnctl.commands.trained import Trained
from cnnctl.config.verbs import Predict
from cnnctl.data import pictures
from cnnctl.data.pictures import Failed
from cnnctl.errors import EXIT_FAILED, RunError
from cnnctl.report.result import Result
from cnnctl.scoring.scorer import Scorer

LONGEST = 200  # bytes of a name; file systems take 255


class Names:
    """Names of files for images, which no two of them share."""

    def __init__(self) -> None:
        self.taken = set[str]()

    def __call__(self, file: str) -> str:
        """That of the image without its ending; the second of one name gets a number."""
        stem = os.fsdecode(os.fsencode(Path(file).stem)[:LONGEST])
        name, number = stem, 1
        while name.casefold() in self.taken:  # there are disks on which a is A
            number += 1
            name = f"{stem}-{number}"
        self.taken.add(name.casefold())
        return name


def folder(one: Trained, predict: Predict) -> Path:
    """A new folder. Raises RunError if it cannot be made."""
    train = one.train
    if predict.output is None:
        names = (one.spec.name, train.data.name)
        return runs.create(train.outputs, "predict", *names, checkpoints=False)
    place = Path(predict.output).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        text = f"cannot write in {place}: {wrong.strerror}"
        raise RunError(text, "choose another folder with output=…") from wrong
    return place


def scorer(one: Trained) -> Scorer:
    """The net, ready to be asked; weights of somebody else are of the classes of their data."""
    where = trained.device(one, "predict")
    known = one.saved or one.manifest
    names = known.classes if known else data.load(one.train.data).classes
    return trained.scorer(one, names, where)


def told(  # noqa: PLR0913 - what every document has
    one: Trained, predict: Predict, view: str, began: float,
    predictions: Sequence[dict[str, Any]], failed: Sequence[Failed], **more: Any,
) -> Result:  # fmt: skip
    """The document; exit code 1 if a file has failed. `began` is a time of `perf_counter`."""
    rows = [{"file": pictures.shown(row.file), "reason": row.reason} for row in failed]
    document = {
        "run": one.name, "checkpoint": str(one.file), **more,
        "seconds": round(time.perf_counter() - began, 3),
        "predictions": list(predictions), "failed": rows,
    }  # fmt: skip
    view = f"{view}_csv" if predict.format == "csv" else view
    return Result(view, document, EXIT_FAILED if rows else 0)
