"""The classes of image files, and the document about them. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cnnctl.commands import predicted
from cnnctl.commands.trained import Trained
from cnnctl.config.verbs import Predict
from cnnctl.data.pictures import Failed
from cnnctl.errors import ConfigError, Problem
from cnnctl.report import progress
from cnnctl.report.result import Result
from cnnctl.scoring import pictures
from cnnctl.scoring.ways import Way

FEW = 5  # classes that are named unless told


def result(
    one: Trained, predict: Predict, files: Sequence[str], failed: Sequence[Failed]
) -> Result:
    """The likeliest classes of `files`; `failed` are what named no file.

    Raises ConfigError if more classes are asked for than the net knows.
    """
    began = time.perf_counter()
    scorer = predicted.scorer(one)
    top = _top(predict.top, len(scorer.classes))
    way = Way(flip=one.train.trainer.test_flip)
    with progress.reading(one.train.progress) as tell:
        predictions, more = pictures.predict(scorer, files, one.train, way, top, tell)
    return predicted.told(
        one, predict, "predicted", began, predictions, [*failed, *more],
        classes=len(scorer.classes),
    )  # fmt: skip


def _top(asked: int | None, classes: int) -> int:
    """How many classes are named. Raises ConfigError if the net has not so many."""
    if asked is not None and asked > classes:
        text = f"top must be at most {classes}, as the net knows {classes} classes, got {asked}"
        raise ConfigError([Problem(text, f"top={classes}", "top")])
    return asked or min(FEW, classes)
