"""Optimizer steps, whatever is learned: what every task does with its batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.errors import TrainingError
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Gradient, Measured

Configure = Callable[[Net], OptimizerLRScheduler]
Explained = Callable[[Sequence[Ticket]], tuple[TrainingError, bool]]  # and whether to go on helps
STATE = "place"  # the entry of a checkpoint that holds ours
torch_: Any = torch
foreach_norm = torch_._foreach_norm  # noqa: SLF001 - one call for all; it has no public name
TIMES = 3  # steps that are undone before a run is given up
SLOWER = 0.5  # of the learning rate, each time


@dataclass
class Place:
    """Where a run is: its epoch from 0, the steps begun in it, and the last learning rate.

    `pieces` are those of a batch that does not fit into memory as a whole; `undone` are the steps
    that gave no finite number, as (epoch, step of it).
    """

    epoch: int = 0
    begun: int = 0
    lr: float = 0.0
    pieces: int = 1
    undone: tuple[tuple[int, int], ...] = ()


class NotFinite(Exception):  # noqa: N818 - not an error yet: the task decides what to do
    """The loss or the gradient of a step is NaN or infinite; nothing has been changed by it."""


class Steps(pl.LightningModule):
    """Trains `net`: one optimizer step for the batches that belong to one (see `Ticket`).

    Lightning hands over lists of batches and makes no step itself: several may come at a time,
    because its work around a step takes longer than a small net's step. `clip` is the largest
    norm of the gradient, `steps` how many there are in all. A step whose loss or gradient is not
    finite is never applied: `explain` says why, and the run ends or, with `rollback`, goes on
    without it. With `split`, batches that do not fit into memory are made in pieces. Of a
    `sharded` net every process has a part. A task gives `count`.
    """

    def __init__(  # noqa: PLR0913 - one for each way in which a step can be made
        self, net: Net, configure: Configure | None = None, *,
        clip: float | None = None, rollback: bool = False, split: bool = False,
        steps: int | None = None, sharded: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.automatic_optimization = False
        self.net = net
        self.configure = configure
        self.clip = clip
        self.rollback = rollback
        self.steps = steps
        self.sharded = sharded
        self.place = Place()
        self.gradient = Gradient(net, self.measure, split=split, keeps=rollback or split)
        self.explain: Explained = _unexplained
        self.notice: Callable[[str], None] = lambda _: None

    def __setattr__(self, name: str, value: Any) -> None:
        """As any module; the names of hooks without a look for parameters, forty times a step."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def count(self, split: str, measured: Measured) -> None:
        """Add a batch to the figures of a split."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes)."""
        return self.net(images)

    def measure(self, images: Tensor, labels: Tensor) -> Measured:
        """Images (B, C, H, W) through the net."""
        outputs = self.net(images)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        return Measured(self.net.loss(outputs, labels), logits, labels)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """What `configure` says."""
        assert self.configure is not None
        return self.configure(self.net)

    def on_train_start(self) -> None:
        """Moments lie as the weights do: those of a run on other devices may lie otherwise.

        Torch's fused rules walk through both in the order of memory, without a look.
        """
        for optimizer in self.trainer.optimizers:
            for weight, state in optimizer.state.items():
                for name, value in state.items():
                    if isinstance(value, Tensor) and value.shape == weight.shape:
                        state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)

    def training_step(self, batches: list[Batch], _: int) -> None:
        """A step for each batch, or for several that make one."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        for batch in batches:
            if self.trainer.global_step == self.steps:
                return
            self.gradient.add(batch, self)
            if batch.ticket.last:
                self._step(optimizer)

    def _step(self, optimizer: LightningOptimizer) -> None:
        """Apply the gradient, unless it is not finite."""
        rate = max(group["lr"] for group in optimizer.param_groups)
        try:
            optimizer.step()
        except NotFinite:
            self._undo(optimizer)
        else:
            self.place.lr = rate
            for measured in self.gradient.measured:
                self.count("train", measured)
            for schedule in self.schedules():
                if not isinstance(schedule, ReduceLROnPlateau):
                    schedule.step()
        self.gradient.clear()
        self.place.begun += 1

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:  # noqa: ARG002 - a hook of Lightning
        """Look at loss and gradient, which are no longer scaled, then clip. Raises NotFinite."""
        total = torch.stack(self.gradient.losses).sum()
        if self.trainer.world_size > 1 and self.rollback:
            total = torch.zeros_like(total)  # all have to come to the same conclusion
        # a loss scaler leaves out steps with an infinite gradient, and finds its scale by them
        if self.trainer.precision != "16-mixed":
            found = (value.grad for value in self.net.parameters())
            grads = [grad for grad in found if grad is not None and grad.numel()]
            if grads:
                total = total + torch.stack(foreach_norm(grads, math.inf)).max()
        if self.sharded:  # each process sees a part of the gradient
            torch.distributed.all_reduce(total)  # the largest of a NaN and a number may be either
        if not math.isfinite(total.item()):
            raise NotFinite
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)

    def _undo(self, optimizer: LightningOptimizer) -> None:
        """Leave the step out and go on slower; raises TrainingError if that is not wanted."""
        error, helps = self.explain(self.gradient.parts)
        if not self.rollback or not helps:
            raise error
        if len(self.place.undone) == TIMES:
            text = f"{error.message}; {TIMES} steps have been undone before"
            raise TrainingError(text, "a lower learning rate: optimizer.lr=…")
        self.place.undone = (*self.place.undone, (self.place.epoch, self.place.begun))
        self.gradient.restore()
        for schedule in self.schedules():
            if not isinstance(schedule, ReduceLROnPlateau):
                schedule.base_lrs = [rate * SLOWER for rate in schedule.base_lrs]
        for group in optimizer.param_groups:
            group["lr"] *= SLOWER
        rate = max(group["lr"] for group in optimizer.param_groups)
        self.notice(f"{error.message}: step undone, learning rate halved to {rate:.3g}")

    def schedules(self) -> list[Any]:
        """None, one or two."""
        found = self.lr_schedulers()
        return found if isinstance(found, list) else [] if found is None else [found]

    def over(self, figure: float) -> None:
        """The epoch is over, and measured: `figure` is what a plateau watches."""
        for schedule in self.schedules():
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(figure)
        self.place.epoch, self.place.begun = self.place.epoch + 1, 0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Where the run is; Lightning's own counters know nothing of steps within a list."""
        del checkpoint["loops"]
        self.place.pieces = self.gradient.pieces
        checkpoint[STATE] = asdict(self.place)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from there."""
        self.place = Place(**checkpoint[STATE])
        self.gradient.pieces = self.place.pieces
        loop = self.trainer.fit_loop
        epochs: Any = loop.epoch_progress.current
        epochs.ready = epochs.started = epochs.processed = epochs.completed = self.place.epoch
        module: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue] - set by a connector
        module.begun = (self.place.epoch, self.place.begun)
        made = loop.epoch_loop.manual_optimization.optim_step_progress.total
        made.ready = made.completed = checkpoint["global_step"]


def _unexplained(_: Sequence[Ticket]) -> tuple[TrainingError, bool]:
    return TrainingError("the loss or its gradient is not finite"), True
