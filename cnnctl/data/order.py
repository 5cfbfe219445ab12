"""Which images make which batch: a pure function of the seed and the epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from cnnctl.data.draws import Draws


class Ticket(NamedTuple):
    """One batch to be read: the numbers of its images; no epoch, no random changes.

    A number may be the image's plus a multiple of how many there are: the same one again.
    """

    samples: np.ndarray
    epoch: int | None


class Order:
    """The images of an epoch for one process among several, int64.

    In training they are shuffled, or drawn in proportion to `weights`, and the first few come
    twice where the number does not divide, to keep all processes in step. Measuring takes
    them in order, and all shares together are every image once: a sampler that pads would
    measure 21 images as 22.
    """

    def __init__(
        self, images: int, seed: int | None, *, world: int = 1, rank: int = 0,
        weights: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.images = images
        self.seed = seed
        self.world = world
        self.rank = rank
        self.weights = weights

    def of(self, epoch: int) -> np.ndarray:
        """The images of this process in an epoch; any epoch without a replay of those before."""
        if self.seed is None:
            return np.arange(self.rank, self.images, self.world)
        word = Draws(self.seed, epoch, np.zeros(1, np.int64)).batch("order").integers(2**63 - 1)
        generator = torch.Generator().manual_seed(int(word))
        if self.weights is None:
            order = torch.randperm(self.images, generator=generator).numpy()
        else:
            shares = np.cumsum(self.weights / self.weights.sum())
            places = torch.rand(self.images, generator=generator, dtype=torch.float64).numpy()
            order = _told_apart(np.searchsorted(shares[:-1], places, side="right"), self.images)
        return np.resize(order, len(self) * self.world)[self.rank :: self.world]

    def __len__(self) -> int:
        if self.seed is None:
            return len(range(self.rank, self.images, self.world))
        return math.ceil(self.images / self.world)


def _told_apart(order: np.ndarray, images: int) -> np.ndarray:
    """`order` plus `images` for each time that the same image came before.

    So an image that is drawn twice in an epoch is changed in two ways.
    """
    places = np.argsort(order, kind="stable")
    alike = order[places]
    first = np.searchsorted(alike, alike)
    told = np.empty_like(order)
    told[places] = alike + images * (np.arange(len(order)) - first)
    return told


class Batches(Sampler[list[Ticket]]):
    """The batches of an epoch, several at a time where a step is short.

    Lightning's work around a step takes longer than a step of LeNet, so `chunk` batches are
    handed over at once, and the task makes that many steps of them. What is computed does not
    depend on it. The first epoch begins with batches that come alone, for those who watch
    single steps. Lightning calls `set_epoch` of the `sampler`.
    """

    def __init__(self, order: Order, batch_size: int, *, alone: int = 0) -> None:
        self.order = order
        self.batch_size = batch_size
        self.alone = alone
        self.chunk = 1
        self.epoch = 0

    @property
    def sampler(self) -> Batches:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch from the next iteration on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Ticket]]:
        order = self.order.of(self.epoch)
        epoch = None if self.order.seed is None else self.epoch
        start, made = 0, 0
        while start < len(order):
            take = 1 if epoch == 0 and made < self.alone else self.chunk
            end = start + take * self.batch_size
            starts = range(start, min(end, len(order)), self.batch_size)
            yield [Ticket(order[one : one + self.batch_size], epoch) for one in starts]
            start, made = end, made + take

    def __len__(self) -> int:
        """Batches; how many are handed over at once is not known before."""
        return math.ceil(len(self.order) / self.batch_size)
