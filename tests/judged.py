"""Masks that nets without layers answer, and what is counted of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from cnnctl.config import compose, preflight
from cnnctl.config.masks import IGNORE
from cnnctl.config.schema import Train
from cnnctl.data.pairs import Held
from cnnctl.data.source import Source
from cnnctl.scoring.masks import Asked, MaskScores

CLASSES = ("sky", "sea", "sand")
SIZES = [(8, 8), (6, 8), (8, 8), (5, 7), (6, 8), (8, 8)]
STEP = 80  # levels between the classes in an image
Answers = Callable[[Tensor], Tensor]


def pairs(sizes: Sequence[tuple[int, int]] = SIZES, ignored: float = 0.1) -> Held:
    """Images that show their masks, beside noise; of the fourth nothing counts, unless all does."""
    random, found = np.random.default_rng(4), []
    for number, size in enumerate(sizes):
        mask = random.integers(0, len(CLASSES), size)
        image = np.stack((mask * STEP, *random.integers(0, 256, (2, *size))))
        mask[random.random(size) < (ignored if number != 3 or not ignored else 1)] = IGNORE
        found.append(tuple(torch.from_numpy(one.astype(np.uint8)) for one in (image, mask[None])))
    return Held(found, [f"{number}.png" for number in range(len(sizes))])


def right(images: Tensor) -> Tensor:
    """The class that each pixel shows."""
    classes = one_hot(images[:, 0].long() // STEP, len(CLASSES))
    return 3.0 * classes.permute(0, 3, 1, 2)


def noisy(seed: int, skill: float = 1.0) -> Answers:
    """The same, as far as `skill` goes; the errors of an image follow from its noise."""
    turns = torch.rand(len(CLASSES), 2, generator=torch.Generator().manual_seed(seed))

    def answer(images: Tensor) -> Tensor:
        waves = torch.einsum("kc,bchw->bkhw", turns.double(), images[:, 1:].double()).sin()
        return (right(images) / 3 * skill + 2 * waves).float()

    return answer


@cache
def train(batch_size: int) -> Train:
    words = ["model=unet_small", "data=shapes", f"data.batch_size={batch_size}", "data.size=8"]
    with compose.opened():
        found, more = preflight.check(*compose.compose("train", words))
    assert found is not None
    assert more == []
    return found


def asked(
    answer: Answers, held: Held | None = None, *, name: str = "one", flip: bool = False,
    batch_size: int = 4, classes: tuple[str, ...] = CLASSES,
) -> Asked:  # fmt: skip
    """Asked about a test split."""

    class Answering:
        def __call__(self, images: Tensor, /) -> Tensor:
            return answer(images)

        def loss(self, *_: Any) -> None:
            return None

    scorer: Any = Answering()
    scorer.classes = classes
    source = Source(classes, {"test": pairs() if held is None else held})
    return Asked(name, scorer, source, train(batch_size), flip)


def drawn(seed: int, images: int = 12, classes: int = 3) -> np.ndarray:
    """Confusion matrices (N, classes, classes) of a net that is right more often than not."""
    random = np.random.default_rng(seed)
    return random.integers(5, 30, (images, classes, classes)) + 60 * np.eye(classes, dtype=int)


def counted(
    counts: np.ndarray, *, edge: float | np.ndarray = 0.5, losses: np.ndarray | None = None
) -> MaskScores:
    """As if a net had given these; half a nat is lost in each pixel unless `losses` are given."""
    total, many, _ = counts.shape
    return MaskScores(
        classes=tuple(f"class {number}" for number in range(many)),
        names=tuple(f"{number}.png" for number in range(total)),
        counts=counts.astype(np.int32),
        losses=0.5 * counts.sum((1, 2)) if losses is None else losses,
        boundary=np.broadcast_to(np.asarray(edge, float), (total, many)).copy(),
        digests=np.zeros(total, np.int64), worst=(), seconds=1.0,
    )  # fmt: skip
