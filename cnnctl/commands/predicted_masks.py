"""Masks of image files, and the document about them. Imports torch.

outputs/predict/2026-11-21_14-03-19_unet_shapes_7f3a/
    result.json    what --json prints; written last
    masks/         a PNG for each image, of its size: its values are the numbers of the classes
    overlays/      a JPEG for each image: the colours of the classes over it
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cnnctl import runs
from cnnctl.commands import predicted
from cnnctl.commands.trained import Trained
from cnnctl.config.verbs import Predict
from cnnctl.data import pictures
from cnnctl.data.pictures import Failed
from cnnctl.errors import ConfigError, Problem, RunError
from cnnctl.report import mask_files, progress
from cnnctl.report.result import Result
from cnnctl.scoring import picture_masks, tiles
from cnnctl.scoring.picture_masks import Answer
from cnnctl.scoring.scorer import Scorer

MASKS, OVERLAYS = "masks", "overlays"


class Folder:
    """Where masks and overlays are written, under names that no two images share."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.names = predicted.Names()
        for name in (MASKS, OVERLAYS):
            (place / name).mkdir()

    def keep(self, answer: Answer) -> tuple[Path, Path]:
        """Write both files of an image."""
        name = self.names(answer.picture.file)
        mask, overlay = self.place / MASKS / f"{name}.png", self.place / OVERLAYS / f"{name}.jpg"
        classes = answer.classes.numpy()
        mask_files.mask(classes, mask)
        mask_files.overlay(answer.picture.pixels.numpy(), classes, overlay)
        return mask, overlay


def result(
    one: Trained, predict: Predict, files: Sequence[str], failed: Sequence[Failed]
) -> Result:
    """Masks of `files`; `failed` are what named no file.

    What is finished stays if it is stopped. Raises ConfigError if more classes are asked for than
    the net knows, what `tiles.tiled` raises, and RunError if a folder cannot be written in.
    """
    began = time.perf_counter()
    scorer = predicted.scorer(one)
    _check(predict, len(scorer.classes))
    if predict.tile is not None:
        scorer = tiles.tiled(scorer, predict.tile, tiles.of(scorer, one.spec, one.train))
    place = predicted.folder(one, predict)
    try:
        rows, more = _kept(one, predict, scorer, files, Folder(place))
        found = predicted.told(
            one, predict, "masks", began, rows, [*failed, *more],
            classes=list(scorer.classes), tile=predict.tile, folder=str(place) if rows else None,
        )  # fmt: skip
        if rows:
            runs.write_json(place / runs.RESULT, found.data)
    except OSError as wrong:
        text = f"cannot write in {place}: {wrong.strerror or wrong}"
        raise RunError(text, "choose another folder with output=…") from wrong
    finally:
        if not any((place / MASKS).glob("*.png")):
            shutil.rmtree(place, ignore_errors=True)
    return found


def _check(predict: Predict, classes: int) -> None:
    if predict.top is not None and predict.top > classes:
        text = f"top must be at most {classes}, as the net knows {classes} classes"
        raise ConfigError([Problem(f"{text}, got {predict.top}", f"top={classes}", "top")])


def _kept(
    one: Trained, predict: Predict, scorer: Scorer, files: Sequence[str], folder: Folder
) -> tuple[list[dict[str, Any]], list[Failed]]:
    """A row for each file with a mask, and those that have none."""
    rows, failed = list[dict[str, Any]](), list[Failed]()
    with progress.reading(one.train.progress) as tell:
        for answer in picture_masks.predict(scorer, files, one.train, tell):
            if isinstance(answer, Failed):
                failed.append(answer)
                continue
            mask, overlay = folder.keep(answer)
            height, width = answer.classes.shape
            rows.append(
                {
                    "file": pictures.shown(answer.picture.file),
                    "mask": pictures.shown(str(mask)),
                    "overlay": pictures.shown(str(overlay)),
                    "height": height,
                    "width": width,
                    "classes": _classes(answer, scorer.classes, predict.top),
                    "note": answer.picture.note,
                }
            )
    return rows, failed


def _classes(answer: Answer, names: Sequence[str], top: int | None) -> list[dict[str, Any]]:
    """The classes of most pixels, the largest first; of equal ones the first."""
    counts = torch.bincount(answer.classes.flatten().long(), minlength=len(names))
    order = counts.sort(descending=True, stable=True).indices.tolist()[:top]
    return [
        {
            "class": names[at],
            "pixels": int(counts[at]),
            "share": int(counts[at]) / int(counts.sum()),
        }
        for at in order
        if counts[at]
    ]
