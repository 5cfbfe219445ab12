"""The proof that a file gives the masks that the net gives, on real images of several sizes.

As in `parity`, with every pixel in the place of an image: how far its logits are apart, and whether
the same class is named. What is measured besides is the mean IoU of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cnnctl.data.pair_reading import Entire, Seen
from cnnctl.data.pairs import Pairs
from cnnctl.data.source import Source
from cnnctl.export.parity import Difference, Proof, Tell, judge, told
from cnnctl.scoring.scorer import Scorer
from cnnctl.tasks.segment import confusion, fitted, overlaps

IMAGES = 16  # unless told: every pixel of them is compared
BATCHES = (1, 3)
SCALED = 6  # images that are also compared in other sizes
SCALES = ((5 / 4, 1), (4 / 5, 1), (1, 3 / 4), (2 / 3, 6 / 5))  # of their height and width
FIGURES = ("miou", "dice", "pixel_accuracy")


@dataclass(frozen=True)
class Shown:
    """Some pairs of a split, evenly spread over it, as evaluation shows them: whole."""

    split: str
    pairs: Pairs
    resize: int | None

    def __len__(self) -> int:
        return len(self.pairs.labels)

    def __iter__(self) -> Iterator[Seen]:
        view = Entire(self.resize)
        return (view(*self.pairs.pair(number)) for number in range(len(self)))

    def batches(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images uint8 (B, C, H, W) with masks (B, planes, H', W'), neighbours of one size."""
        for _, alike in groupby(self, lambda one: (one.image.shape, one.mask.shape)):
            held: list[Seen] = []
            for one in alike:
                held.append(one)
                if len(held) == most:
                    yield _stacked(held)
                    held = []
            if held:
                yield _stacked(held)

    def scaled(self) -> Iterator[Seen]:
        """Some of them in other sizes, image and mask alike."""
        places = range(0, len(self), max(1, len(self) // SCALED))
        for number, place in enumerate(places[:SCALED]):
            image, mask = Entire(self.resize)(*self.pairs.pair(place))
            sides = [
                max(1, round(length * by))
                for length, by in zip(image.shape[-2:], SCALES[number % len(SCALES)], strict=True)
            ]
            found = interpolate(image[None], sides, mode="bilinear", antialias=True)[0]
            yield Seen(found, interpolate(mask[None], sides, mode="nearest-exact")[0])


class Difference2d(Difference):
    """Between the masks of two scorers; `n` counts pixels."""

    FIGURE = "miou"

    def __init__(self, classes: int, *, softmax: bool) -> None:
        super().__init__(softmax=softmax)
        self.images = 0
        self.counts = [torch.zeros(classes, classes, dtype=torch.int64) for _ in range(2)]

    def add(self, wanted: Tensor, found: Tensor, labels: Tensor) -> None:
        """Logits (B, classes, H, W) of the net and of the file, and masks (B, planes, H', W')."""
        for one, other, mask in zip(wanted, found, labels, strict=True):
            self.compare(*(logits.flatten(1).T for logits in (one, other)))
            for place, logits in enumerate((one, other)):
                named = fitted(logits[None], mask).argmax(1)
                self.counts[place] += confusion(named, mask[:1], len(logits))
            self.images += 1

    def document(self) -> dict[str, Any]:
        """Metrics as fractions; of agreement that of the pixels."""
        figures = [overlaps(counts.double()) for counts in self.counts]
        return {
            "n": self.images, "pixels": self.n, "max_abs_error": self.error,
            "top1_agreement": self.agreed / self.n,
            **{
                f"{name}_{who}": found[name]
                for name in FIGURES
                for who, found in zip(("eager", "export"), figures, strict=True)
            },
        }  # fmt: skip


def choose(source: Source, split: str, count: int | None, resize: int | None) -> Shown:
    """`count` pairs of a split, or all that it has."""
    pairs = source.splits[split]
    assert isinstance(pairs, Pairs)
    has = len(pairs.labels)
    count = min(count or IMAGES, has)
    return Shown(split, pairs.pick(np.arange(count) * has // count), resize)


def prove(  # noqa: PLR0913 - two scorers, and what they are shown
    proof: Proof, eager: Scorer, file: Scorer, shown: Shown, batches: tuple[int, ...], tell: Tell
) -> dict[str, Any]:
    """The largest error and the figures, by batch size, and of images of other sizes.

    Raises ExportError if the file does not give what the net gives.
    """
    classes = len(eager.classes)
    sizes = sorted({min(batch, len(shown)) for batch in batches})
    found = {size: Difference2d(classes, softmax=proof.softmax) for size in sizes}
    done = 0
    for images, masks in shown.batches(max(sizes)):
        wanted = eager(images)
        for size, difference in found.items():
            answers = torch.cat([file(part) for part in images.split(size)])
            difference.add(wanted, answers, masks)
        done += len(images)
        tell("comparing", done, len(shown))
    proven = told(proof, found, shown.split)
    return proven | {"raw": _other_sizes(proof, eager, file, shown, tell)}


def _other_sizes(
    proof: Proof, eager: Scorer, file: Scorer, shown: Shown, tell: Tell
) -> dict[str, Any]:
    """The same for images scaled to sizes that nobody has trained on, one by one."""
    found, sides = Difference2d(len(eager.classes), softmax=proof.softmax), set[torch.Size]()
    for image, mask in shown.scaled():
        found.add(eager(image[None]), file(image[None]), mask[None])
        sides.add(image.shape)
        tell("comparing other sizes", found.images, SCALED)
    error = judge(found, "tolerance", proof.tolerance, "images of other sizes")
    return {
        **found.document(), "error": error, "tolerance": proof.tolerance,
        "sizes": len(sides), "scaled": True,
    }  # fmt: skip


def _stacked(held: list[Seen]) -> tuple[Tensor, Tensor]:
    images, masks = zip(*held, strict=True)
    return torch.stack(images), torch.stack(masks)
