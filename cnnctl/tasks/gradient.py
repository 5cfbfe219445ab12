"""The gradient of one step, from the batches that belong to it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.errors import TrainingError
from cnnctl.nets.net import Net
from cnnctl.nets.sizes import BATCH_NORM


class Measured(NamedTuple):
    """A batch that went through the net: mean loss (), logits (B, …), labels."""

    loss: Tensor
    logits: Tensor
    labels: Tensor


SPLIT = "batch normalisation takes its statistics over a piece, not over the whole batch"
FULL = (
    "DefaultCPUAllocator: can't allocate memory", "out of memory", "bad_alloc", "ALLOC_FAILED",
)  # fmt: skip
Measure = Callable[[Tensor, Tensor], Measured]


class Gradient:
    """Adds up the gradient of `net` over the parts of a step.

    Each part counts by its share of the images of the step, so that the mean is that of all of
    them. With `split`, a part that does not fit into memory is made in `pieces`, from then on
    for good; for that the earlier parts are read `again`. `parts` are the tickets of the batches
    so far, `measured` what came out of them, `losses` add up to the loss of the step.
    """

    def __init__(
        self, net: Net, measure: Measure, *, split: bool = False, keeps: bool = False
    ) -> None:
        self.net = net
        self.measure = measure
        self.split = split
        self.keeps = keeps or split
        self.pieces = 1
        self.notice: Callable[[str], None] = lambda _: None
        self.again: Callable[[Ticket], Batch]
        self.parts: list[Ticket] = []
        self.measured: list[Measured] = []
        self.losses: list[Tensor] = []
        self._before: list[Tensor] = []

    def clear(self) -> None:
        """The step is made; its gradient stays until the next forward pass is over."""
        self.parts, self.measured, self.losses = [], [], []

    def add(self, batch: Batch, task: pl.LightningModule) -> None:
        """One more part. Raises TrainingError if not even one image fits into memory."""
        if self.keeps and not self.parts:
            self._before = [value.clone() for value in self.net.buffers()]
        self.parts.append(batch.ticket)
        wanted: Iterable[Batch] = [batch]
        while not self._made(wanted, task):  # what failed has let go of its tensors by now
            self._halve()
            self.measured, self.losses = [], []
            self.net.zero_grad()
            self.restore()
            wanted = map(self.again, self.parts)

    def restore(self) -> None:
        """Running statistics of batches as they were before the step."""
        for value, before in zip(self.net.buffers(), self._before, strict=True):
            value.copy_(before)

    def _made(self, batches: Iterable[Batch], task: pl.LightningModule) -> bool:
        """Whether there was memory enough."""
        try:
            for batch in batches:
                self._part(batch, task)
        except (RuntimeError, MemoryError) as error:
            if not self.split or not is_oom(error):
                raise
            return False
        return True

    def _halve(self) -> None:
        """Cut every batch into twice as many pieces. Raises TrainingError if it is one image."""
        images = max(len(part.samples) for part in self.parts)
        most = max(1, images // self.least)
        if self.pieces >= most:
            few = "a single image" if self.least == 1 else "two images, which batch norm needs"
            raise TrainingError(f"out of memory with {few}", "a smaller net, or data.size")
        self.pieces = min(2 * self.pieces, most)
        size = math.ceil(images / self.pieces)
        text = f"out of memory: batches of {images} are made in pieces of {size} from here on"
        self.notice(f"{text}; {SPLIT}" if self.least > 1 else text)

    @property
    def least(self) -> int:
        """Images of a piece: batch norm has no statistics of one."""
        return 2 if has_batchnorm(self.net) else 1

    def cut(self, images: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
        """A batch in as many pieces as it takes, none much smaller than the others."""
        if self.pieces == 1:
            return [(images, labels)]
        many = min(self.pieces, max(1, len(images) // self.least))
        return list(zip(images.tensor_split(many), labels.tensor_split(many), strict=True))

    def _part(self, batch: Batch, task: pl.LightningModule) -> None:
        images, labels, ticket = batch
        seed(ticket.word, images.device)
        cut = self.cut(images, labels)
        share = len(images) / ticket.images if ticket.images else 1.0
        for number, (some, wanted) in enumerate(cut, 1):
            measured = self.measure(some, wanted)
            if not self.losses:
                self.net.zero_grad()
            self.measured.append(Measured(*(value.detach() for value in measured)))
            loss = measured.loss if share == 1 else measured.loss * share
            if len(cut) > 1:
                loss = loss * (self.net.weight(wanted) / self.net.weight(labels))
            self.losses.append(loss.detach())
            backward(loss, task, last=ticket.last and number == len(cut))


def has_batchnorm(net: nn.Module) -> bool:
    """Whether a layer takes statistics over the images that go through it together."""
    return any(isinstance(layer, BATCH_NORM) and layer.training for layer in net.modules())


def seed(word: int, device: torch.device) -> None:
    """What a net draws depends on the batch alone, not on what was drawn before."""
    torch.default_generator.manual_seed(word)
    if device.type == "cuda":
        torch.cuda.manual_seed(word)
    elif device.type == "mps":
        torch.mps.manual_seed(word)


def backward(loss: Tensor, task: pl.LightningModule, *, last: bool) -> None:
    """As Lightning does; on one device without its detours, which take a third of a small step."""
    if task.trainer.world_size == 1 and task.trainer.precision != "16-mixed":
        loss.backward()
        return
    alone: Any = getattr(task.trainer.model, "no_sync", contextlib.nullcontext)
    with contextlib.nullcontext() if last else alone():  # processes exchange gradients once
        task.manual_backward(loss)


def is_oom(error: BaseException) -> bool:
    """Whether an error says that the memory of the device is used up."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)  # a CPU and Apple's GPU raise a RuntimeError
    return any(known in text for known in FULL)
