"""What nets say of every pixel of a split, counted image by image.

Logits are held of one batch at a time, whatever the size of the images and of the split.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cnnctl.config.masks import IGNORE
from cnnctl.config.schema import Train
from cnnctl.data.module import DataModule
from cnnctl.data.source import Source
from cnnctl.errors import CnnctlError, DataError
from cnnctl.scoring import boundary, compare
from cnnctl.scoring.scorer import TINY, Scorer
from cnnctl.scoring.scores import Scores, Tell, measured
from cnnctl.tasks.segment import confusion, fitted, measuring, overlaps


@dataclass(frozen=True)
class Asked:
    """A net, and the images that it is asked about; with `flip` their mirror images, too."""

    name: str
    scorer: Scorer
    source: Source
    train: Train
    flip: bool

    def __call__(self, images: Tensor) -> Tensor:
        """Uint8 images (B, C, H, W) -> logits (B, classes, H, W): the mean over both sides."""
        if self.flip:
            return (self.scorer(images) + self.scorer(images.flip(-1)).flip(-1)) / 2
        return self.scorer(images)


@dataclass(frozen=True)
class Judging:
    """How images are judged: the tolerance of outlines, and how many of the worst are kept."""

    split: str
    boundary: float = boundary.TOLERANCE
    worst: int = 0


class Answer(NamedTuple):
    """Logits float32 (classes, H, W) of an image of this number, and its mask uint8 (H, W)."""

    number: int
    logits: Tensor
    mask: Tensor


class Bad(NamedTuple):
    """An image with a low mean IoU, and the class of each of its pixels, uint8 (H, W)."""

    miou: float
    number: int
    predicted: np.ndarray


@dataclass(frozen=True)
class MaskScores:
    """What is counted of every image, in the order of the split.

    `counts` int32 (N, classes, classes) are pixels by class of the mask and of the net, `losses`
    float64 (N,) sums of the cross-entropy over the pixels that count, `boundary` float64
    (N, classes) as `boundary.f1` has it, `digests` tell one mask from another. `seconds` is what
    it took, reading included.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    counts: np.ndarray
    losses: np.ndarray
    boundary: np.ndarray
    digests: np.ndarray
    worst: tuple[Bad, ...]
    seconds: float

    def __len__(self) -> int:
        return len(self.names)


class Tally:
    """Counts the answers of one net, or of several together."""

    def __init__(self, classes: tuple[str, ...], names: tuple[str, ...], judging: Judging) -> None:
        total, many = len(names), len(classes)
        self.classes, self.names, self.judging = classes, names, judging
        self.counts = np.zeros((total, many, many), np.int32)
        self.losses = np.zeros(total)
        self.boundary = np.full((total, many), np.nan)
        self.digests = np.zeros(total, np.int64)
        self.worst: list[Bad] = []
        self.broken = 0

    def add(self, answer: Answer) -> None:
        """Count one image."""
        number, logits, mask = answer
        if not logits.isfinite().all():
            self.broken += 1
            return
        predicted = logits.argmax(0)
        counts = confusion(predicted, mask, len(self.classes))
        self.counts[number] = counts.numpy()
        losses = cross_entropy(
            logits[None], mask[None].long(), ignore_index=IGNORE, reduction="none"
        )
        self.losses[number] = float(losses.double().sum())
        found = predicted.to(torch.uint8).numpy()
        self.boundary[number] = boundary.f1(
            found, mask.numpy(), len(self.classes), self.judging.boundary
        )
        self.digests[number] = zlib.crc32(mask.numpy().tobytes())
        if counts.any():
            bad = Bad(overlaps(counts)["miou"], number, found)
            self.worst = sorted([*self.worst, bad], key=lambda one: one[:2])[: self.judging.worst]

    def scores(self, seconds: float) -> MaskScores:
        """What has been counted. Raises CnnctlError if some of the answers are no numbers."""
        if self.broken:
            text = f"the net gives no numbers for {self.broken} of {len(self.names)} images"
            raise CnnctlError(text, "its weights are broken, or hardware.precision is too low")
        return MaskScores(
            self.classes, self.names, self.counts, self.losses, self.boundary, self.digests,
            tuple(self.worst), seconds,
        )  # fmt: skip


def score(asked: Sequence[Asked], judging: Judging, tell: Tell) -> list[MaskScores]:
    """What each net says of a split and, of several, the mean of their probabilities last.

    All see an image at the same time. Raises DataError if there is no such split, its classes are
    not those of a net, the images or their masks are not the same, or one cannot be read;
    CnnctlError for images that are too large, and what `Tally.scores` raises.
    """
    about = [_about(one, judging.split) for one in asked]
    for one, other in zip(asked, about, strict=True):
        compare.same_images(about[0], other, (asked[0].name, one.name))
    classes, names = about[0].classes, about[0].names
    began, several = time.perf_counter(), len(asked) > 1
    tallies = [Tally(classes, names, judging) for _ in range(len(asked) + several)]
    for done, answers in enumerate(_together(asked, judging.split), start=1):
        for one, tally in zip(answers, tallies, strict=False):
            tally.add(one)
        if several:
            tallies[-1].add(_mean(answers, names))
        tell("measuring", done, len(names))
    seconds = time.perf_counter() - began
    return [tally.scores(seconds) for tally in tallies]


def same(first: MaskScores, second: MaskScores, names: tuple[str, str]) -> None:
    """Raise DataError, naming the first that differs, unless both are of the same images and masks.

    `names` are those of the nets.
    """
    one, other = (_named(found.classes, found.names) for found in (first, second))
    compare.same_images(one, other, names)
    apart = np.flatnonzero(first.digests != second.digests)
    if len(apart):
        text = f"the mask of {first.names[apart[0]]} is another for {names[0]} than for {names[1]}"
        raise DataError(text, "give both the same: data=…")


def _about(asked: Asked, split: str) -> Scores:
    """The images of a net by name, with nothing said of them yet."""
    images = measured(asked.scorer, asked.source, split, asked.train.data.name)
    names = tuple(images.name(place) for place in range(len(images.labels)))
    return _named(asked.scorer.classes, names)


def _named(classes: tuple[str, ...], names: tuple[str, ...]) -> Scores:
    labels = torch.zeros(len(names), dtype=torch.int64)
    return Scores(classes, names, labels, torch.empty(len(names), 0), None, 0.0)


def _answers(asked: Asked, split: str) -> Iterator[Answer]:
    """Image by image; those of one batch that are of several sizes are not in their order."""
    for several in DataModule(asked.source, asked.train).evaluation(split):
        for pixels in several:
            with measuring(pixels.images, "see them part by part: tile=512, or less"):
                logits = fitted(asked(pixels.images), pixels.labels)
            for number, one, mask in zip(
                pixels.ticket.samples.tolist(), logits, pixels.labels[:, 0], strict=True
            ):
                yield Answer(number, one, mask)


def _together(asked: Sequence[Asked], split: str) -> Iterator[list[Answer]]:
    """What all say of an image; nets with other batches wait for each other."""
    waiting: dict[int, list[Answer | None]] = {}
    for several in zip(*(_answers(one, split) for one in asked), strict=True):
        for place, answer in enumerate(several):
            known = waiting.setdefault(answer.number, [None] * len(asked))
            known[place] = answer
            found = [one for one in known if one is not None]
            if len(found) == len(asked):
                yield found
                del waiting[answer.number]


def _mean(answers: Sequence[Answer], names: Sequence[str]) -> Answer:
    """The logarithm of the mean probability. Raises DataError for masks that differ."""
    number, first, mask = answers[0]
    if any(not torch.equal(one.mask, mask) for one in answers[1:]):
        text = f"the mask of {names[number]} is not the same for all nets"
        raise DataError(text, "give all the same: data=…")
    total = torch.zeros(first.shape, dtype=torch.float64)
    for one in answers:
        total += one.logits.double().softmax(0)
    return Answer(number, (total / len(answers)).clamp(min=TINY).log().float(), mask)
