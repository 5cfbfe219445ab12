"""How much of its accuracy a net keeps while images are changed more and more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnctl.config.schema import Train
from cnnctl.config.verbs import Perturbation
from cnnctl.data.draws import Draws
from cnnctl.data.module import DataModule
from cnnctl.data.source import Source
from cnnctl.errors import DataError
from cnnctl.scoring.changes import CHANGES
from cnnctl.scoring.intervals import wilson
from cnnctl.scoring.scorer import Scorer
from cnnctl.scoring.scores import Tell, measured
from cnnctl.scoring.ways import Way


def sweep(  # noqa: PLR0913 - what is asked, of whom, and how
    scorer: Scorer, source: Source, split: str, train: Train, way: Way,
    kinds: Sequence[Perturbation], tell: Tell,
) -> dict[str, Any]:  # fmt: skip
    """Top-1 of a split at every strength of each kind of change, with its 95 % interval.

    Images are read once. What is drawn for an image depends on the seed and on the image alone,
    so that other nets of the same seed are asked about the same pixels, whatever the batch.
    Strength 0 is the image as it is. `way` is one that looks at the centre. Raises DataError as
    `score` does, and for a change of colours where there are none.
    """
    assert way.plain
    if "hue" in kinds and train.data.channels == 1:
        raise DataError("greyscale images have no hue to change", "leave hue out of robustness")
    total = len(measured(scorer, source, split, train.data.name).labels)
    hits = {kind: [0] * len(CHANGES[kind].strengths) for kind in kinds}
    done = 0
    for samples, images, labels in _batches(scorer, source, split, train, way):
        draws = Draws(train.seed, 0, samples)
        plain = _hits(scorer, way, images, labels)
        for kind in kinds:
            change = CHANGES[kind]
            changed = change.begin(images, draws)
            for place, strength in enumerate(change.strengths):
                some = plain
                if strength:
                    some = _hits(scorer, way, changed(strength), labels)
                hits[kind][place] += some
        done += len(labels)
        tell("changing", done, total)
    return {"kinds": {kind: _kind(kind, hits[kind], total) for kind in kinds}, "n": total}


def _batches(
    scorer: Scorer, source: Source, split: str, train: Train, way: Way
) -> Iterator[tuple[Any, Tensor, Tensor]]:
    """Numbers of images, their bytes where the net is, and labels."""
    device = getattr(scorer, "device", torch.device("cpu"))
    for several in DataModule(source, train).evaluation(split, way.view(train.data.size)):
        for pixels in several:
            yield pixels.ticket.samples, pixels.images.to(device), pixels.labels


def _hits(scorer: Scorer, way: Way, images: Tensor, labels: Tensor) -> int:
    return int((way(scorer, images).argmax(1) == labels).sum())


def _kind(kind: Perturbation, hits: Sequence[int], total: int) -> dict[str, Any]:
    """Its part of the document."""
    change = CHANGES[kind]
    points = [
        {"strength": strength, "top1": some / total, "interval": wilson(some, total)}
        for strength, some in zip(change.strengths, hits, strict=True)
    ]
    return {"unit": change.unit, "points": points}
