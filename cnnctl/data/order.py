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
    `number` is the batch's in its epoch, `word` the seed of what the net draws for it. It is one
    part of a step that takes `images` images, the `last` of them or not.
    """

    samples: np.ndarray
    epoch: int | None
    number: int = 0
    word: int = 0
    images: int = 0
    last: bool = True


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
    single steps. Lightning calls `set_epoch` of the `sampler`. `parts` batches make a step.
    """

    def __init__(self, order: Order, batch_size: int, *, parts: int = 1, alone: int = 0) -> None:
        self.order = order
        self.batch_size = batch_size
        self.parts = parts
        self.alone = alone
        self.chunk = 1
        self.epoch = 0
        self.begun = (0, 0)

    def resume(self, epoch: int, steps: int) -> None:
        """Go on in `epoch`, of which so many steps are made; nothing before is read again."""
        self.epoch = epoch
        self.begun = (epoch, steps)

    @property
    def sampler(self) -> Batches:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch from the next iteration on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Ticket]]:
        tickets = self._tickets()
        epoch, steps = self.begun
        start = made = steps * self.parts if epoch == self.epoch else 0
        if start >= len(tickets):  # all is done but what Lightning does at the end of an epoch
            yield []
        while start < len(tickets):
            take = 1 if self.epoch == 0 and made < self.alone else self.chunk
            yield tickets[start : start + take]
            start, made = start + take, made + take

    def _tickets(self) -> list[Ticket]:
        """All batches of the epoch."""
        order, size = self.order.of(self.epoch), self.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        if self.order.seed is None:
            return [Ticket(samples, None) for samples in batches]
        numbers = np.arange(len(batches))
        places = numbers * self.order.world + self.order.rank
        words = Draws(self.order.seed, self.epoch, places).words("net").tolist()
        span = self.parts * size
        return [
            Ticket(
                samples, self.epoch, number, words[number],
                images=min(span, len(order) - number // self.parts * span),
                last=(number + 1) % self.parts == 0 or number + 1 == len(batches),
            )
            for number, samples in enumerate(batches)
        ]  # fmt: skip

    def __len__(self) -> int:
        """Batches; how many are handed over at once is not known before.

        Without an image to measure, as where processes are more than images, an empty list comes.
        """
        return max(1, math.ceil(len(self.order) / self.batch_size))
