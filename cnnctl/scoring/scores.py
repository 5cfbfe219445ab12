"""What a net says of every image of a split."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cnnctl.config.schema import Train
from cnnctl.data.module import DataModule
from cnnctl.data.source import Images, Source
from cnnctl.errors import DataError
from cnnctl.scoring import looking
from cnnctl.scoring.looking import Looks
from cnnctl.scoring.scorer import Scorer
from cnnctl.scoring.ways import Way

SHOWN = 5  # classes that are named where those of net and data differ

Tell = Callable[[str, int, int], None]  # what is done, images so far, images in all


@dataclass(frozen=True)
class Scores:
    """Logits of every image, in the order of the split.

    `names` and `labels`, int64 (N,), are those of the images, `logits` float32 (N, classes).
    `loss` is the mean over the images, None if the net's own loss is not known; `seconds` what it
    took, reading the images included.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: Tensor
    logits: Tensor
    loss: float | None
    seconds: float

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def probabilities(self) -> Tensor:
        """Float32 (N, classes)."""
        return self.logits.softmax(1)


def score(  # noqa: PLR0913 - what is asked, of whom, and how
    scorer: Scorer, source: Source, split: str, train: Train, way: Way, tell: Tell
) -> Scores:
    """What `scorer` says of the images of a split.

    Raises DataError if there is no such split, its classes are not those of the net, or an image
    cannot be read; and what `Way.prepare` raises.
    """
    images = measured(scorer, source, split, train.data.name)
    scorer = way.prepare(scorer, train.data)
    began, losses = time.perf_counter(), list[float | None]()
    logits = torch.empty(len(images.labels), len(scorer.classes))
    labels = torch.from_numpy(images.labels)
    for samples, shown in _read(source, split, train, way):
        found = way(scorer, shown)
        logits[samples] = found
        one = scorer.loss(found, labels[samples]) if way.plain else None
        losses.append(None if one is None else float(one) * len(samples))
        tell("measuring", int(samples[-1]) + 1, len(labels))
    loss = float(cross_entropy(logits.double(), labels))
    if way.plain:
        known = [one for one in losses if one is not None]
        loss = sum(known) / len(labels) if len(known) == len(losses) else None
    seconds = time.perf_counter() - began
    names = tuple(images.name(place) for place in range(len(labels)))
    return Scores(scorer.classes, names, labels, logits, loss, seconds)


def measured(scorer: Scorer, source: Source, split: str, data: str) -> Images:
    """The images of a split. Raises DataError if there is none, or of classes not the net's."""
    same_classes(scorer.classes, source.classes)
    if split not in source.splits:
        has = ", ".join(source.splits)
        raise DataError(f"{data} has no split '{split}', only {has}")
    return source.splits[split]


def same_classes(known: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """A net's outputs mean the classes it was trained on, in their order. Raises DataError."""
    if known != classes:
        text = f"the net knows {len(known)} classes ({_first(known)})"
        text += f", the data has {len(classes)} ({_first(classes)})"
        order = ", in the same order" if sorted(known) == sorted(classes) else ""
        raise DataError(text, f"evaluate on data with the same classes{order}")


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names if len(names) <= SHOWN else (*names[:SHOWN], "…"))


def _read(
    source: Source, split: str, train: Train, way: Way
) -> Iterator[tuple[np.ndarray, Tensor | list[Looks]]]:
    """Numbers of images and what is shown of them, batch by batch."""
    size = train.data.size
    if not way.plain:
        images = looking.originals(source.splits[split], max(way.sides(size)))
        look = partial(way.look, size=size)
        yield from looking.read(images, train, look, way.some(train.data))
        return
    for several in DataModule(source, train).evaluation(split, way.view(size)):
        for pixels in several:
            yield pixels.ticket.samples, pixels.images
