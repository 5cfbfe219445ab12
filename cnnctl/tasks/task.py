"""What every task does with an epoch: it counts, settles the figures, and goes on from a middle."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from cnnctl.data.prepare import Batch
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.steps import Steps

COUNTED = "counted"  # the entry of a checkpoint with the sums of the epoch that it is in


class Counts(Protocol):
    """Sums over an epoch on the device; the last of them is how many images there were."""

    @property
    def sums(self) -> Tensor:
        """Float64 (N,), or float32 where a device has no more."""
        ...

    def add(self, measured: Measured) -> None:
        """Count one batch."""
        ...

    def restore(self, sums: Tensor) -> None:
        """Go on from sums of earlier."""
        ...


class Task(Steps):
    """Trains and measures a net.

    `figures` holds the last epoch's means by split, and `images` how many images went into them.
    An epoch is judged by FIGURE, of which more is better. A task gives `tally` and `means`, and
    may measure in a way of its own.
    """

    FIGURE: ClassVar[str]
    classes: int

    def __init__(self, *args: Any, mirror: bool = False, **how: Any) -> None:
        super().__init__(*args, **how)
        self.mirror = mirror
        self.figures: dict[str, dict[str, float]] = {}
        self.images: dict[str, int] = {}
        self.tallies: dict[str, Counts] = {}
        self.earlier: list[float] = []

    def again(self, net: Net) -> Task:
        """The same task with another net, to measure it."""
        return type(self)(net, self.classes, mirror=self.mirror)

    def tally(self) -> Counts:
        """Nothing counted yet."""
        raise NotImplementedError

    def means(self, sums: Tensor) -> dict[str, float]:
        """The figures of what is counted."""
        raise NotImplementedError

    def measured(self, batch: Batch) -> Measured:
        """A batch of val or test through the net."""
        raise NotImplementedError

    def count(self, split: str, measured: Measured) -> None:
        """Add to the sums of the epoch."""
        self.tallies[split].add(measured)

    def validation_step(self, batches: list[Batch], _: int) -> None:
        """Count."""
        for batch in batches:
            self.count("val", self.measured(batch))

    def test_step(self, batches: list[Batch], _: int) -> None:  # noqa: PT019 - a hook of Lightning
        """Count."""
        for batch in batches:
            self.count("test", self.measured(batch))

    def on_train_epoch_start(self) -> None:
        """Start counting, or go on where a checkpoint was written within the epoch."""
        self.tallies["train"] = self.tally()
        if self.earlier and self.global_rank == 0:
            self.tallies["train"].restore(torch.tensor(self.earlier, dtype=torch.float64))
        self.earlier = []

    def on_validation_epoch_start(self) -> None:
        """Start counting; all processes measure the net that the first one will save.

        Its running statistics of batches are its own, as those of any other process are.
        """
        if self.trainer.world_size > 1:
            for value in self.net.buffers():
                torch.distributed.broadcast(value, 0)
        self.tallies["val"] = self.tally()

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self.tallies["test"] = self.tally()

    def on_validation_epoch_end(self) -> None:
        """Settle the figures of this epoch: those of training first, which is over by now."""
        if "train" in self.tallies:
            self._settle("train")
        self._settle("val")
        self.over(self.figures["val"][self.FIGURE])

    def on_test_epoch_end(self) -> None:
        """Settle the figures of the test."""
        self._settle("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What is counted of an epoch that is not over."""
        super().on_save_checkpoint(checkpoint)
        within = self.place.begun > 0 and "train" in self.tallies
        checkpoint[COUNTED] = self._sums("train").tolist() if within else []

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting from there."""
        super().on_load_checkpoint(checkpoint)
        self.earlier = checkpoint[COUNTED]

    def _sums(self, split: str) -> Tensor:
        """Over all processes."""
        return self.trainer.strategy.reduce(self.tallies[split].sums.clone(), reduce_op="sum")

    def _settle(self, split: str) -> None:
        sums = self._sums(split)
        self.figures[split] = self.means(sums)
        self.images[split] = int(sums[-1])
