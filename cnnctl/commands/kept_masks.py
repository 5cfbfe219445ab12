"""The files about masks that an evaluation and a training leave behind.

outputs/evaluate/2026-11-21_14-03-19_unet_small_shapes_7f3a/
    result.json       what --json prints
    predictions.csv   one row per image; .parquet with predictions=parquet
    masks.png         images, masks and predictions side by side, the worst first
    classes.png       the overlap of each class
    confusion.png     pixels by class of the mask and of the net

Of two nets that are compared, each has files of its own: predictions_1.csv, predictions_2.csv. A
run has masks.png alone, of some images of val.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from cnnctl import nets, runs, weights
from cnnctl.commands import kept
from cnnctl.config.schema import Train
from cnnctl.config.verbs import Evaluate
from cnnctl.data.pair_reading import resized
from cnnctl.data.pairs import Pairs
from cnnctl.report import masks_plots, masks_sheet, plots
from cnnctl.report.format import image_count, percent
from cnnctl.report.masks_sheet import Shown
from cnnctl.scoring import masks_table
from cnnctl.scoring.masks import MaskScores
from cnnctl.scoring.scorer import Eager
from cnnctl.tasks.segment import fitted
from cnnctl.training.start import Job

FILE = "masks.png"
FEW = 6  # images of val on the sheet of a run


@dataclass(frozen=True)
class Part:
    """What is counted of a net's answers, the document about it, and the images."""

    found: MaskScores
    told: dict[str, Any]
    images: Pairs


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
            files += _files(part, evaluate, folder, end)
        return files

    return kept.filled(train, what, whole, write)


def of_run(job: Job, folder: Path) -> str:
    """The name of a sheet in a run's folder: some images of val as the best epoch sees them."""
    split = "val" if "val" in job.source.splits else "train"
    images = cast("Pairs", job.source.splits[split])
    made = nets.build(job.spec, num_classes=len(job.plan.classes), shape=job.plan.shape)
    weights.load(made, weights.read(folder / runs.CHECKPOINTS / runs.BEST))
    scorer = Eager(made, job.train, job.plan.classes, job.plan.device)
    total, rows = len(images.labels), list[Shown]()
    for place in np.unique(np.linspace(0, total - 1, FEW).astype(int)).tolist():
        image, mask = images.pair(place)
        image = resized(image, getattr(job.train.data, "resize", None))
        found = fitted(scorer(image[None]), mask)[0].argmax(0).to(torch.uint8)
        label = Path(images.name(place)).name
        rows.append(Shown(label, image.numpy(), mask[0].numpy(), found.numpy()))
    title = f"{job.plan.model}: {len(rows)} of {image_count(total)} of {split}"
    masks_sheet.write(rows, job.plan.classes, title, folder / FILE)
    return FILE


def _files(part: Part, evaluate: Evaluate, folder: Path, end: str) -> list[str]:
    found, told, files = part.found, part.told, list[str]()

    def file(name: str, ending: str = "png") -> Path:
        files.append(f"{name}{end}.{ending}")
        return folder / files[-1]

    told["predictions"] = None
    if evaluate.predictions != "none":
        table = file("predictions", evaluate.predictions)
        masks_table.write(found, table)
        told["predictions"] = str(table)
    about = f"{image_count(told['n'])} of {told['split']}"
    if found.worst:
        rows = [_shown(part, *one) for one in found.worst]
        title = f"{len(rows)} of {about}, those of the lowest mean IoU"
        masks_sheet.write(rows, found.classes, title, file("masks"))
    masks_plots.classes(told["per_class"], about, file("classes"))
    plots.confusion(told["confusion"], found.classes, file("confusion"), parts=True)
    return files


def _shown(part: Part, miou: float, number: int, predicted: np.ndarray) -> Shown:
    image, mask = part.images.pair(number)
    label = f"{percent(miou)} {Path(part.found.names[number]).name}"
    return Shown(label, image.numpy(), mask[0].numpy(), predicted)
