"""A net that is ready to be asked: bytes in, logits out, whatever holds its weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from cnnctl.config.schema import Train
from cnnctl.data.prepare import Prepare
from cnnctl.devices import Device
from cnnctl.nets.net import Net

TINY = torch.finfo(torch.float32).tiny  # a probability of 0 has no logarithm
TYPES = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}  # of a precision


class Scorer(Protocol):
    """Uint8 images (B, C, H, W), as the data set has them -> logits, float32 (B, classes).

    The logits are on the CPU. Those of a file that ends in softmax are logarithms of its
    probabilities, which softmax turns into the same probabilities again.
    """

    classes: tuple[str, ...]

    def __call__(self, images: Tensor, /) -> Tensor:
        """As said above."""
        ...

    def loss(self, logits: Tensor, labels: Tensor, /) -> Tensor | None:
        """Mean loss of the training over a batch; None if the file does not have it."""
        ...


def number(precision: str) -> tuple[torch.dtype, bool]:
    """In which products are made, and whether it is mixed: weights and the rest in float32."""
    word, _, kind = precision.partition("-")
    return TYPES.get(word, torch.float32), kind == "mixed"


class Placed:
    """A net on one device, in the precision of `device`, ready to be asked.

    `run` is what computes it: the net itself, unless it is set to something else.
    """

    def __init__(self, net: nn.Module, device: Device, *, channels_last: bool) -> None:
        self.type, self.mixed = number(device.precision)
        self.device = device.first
        net.eval().to(self.device)
        if not self.mixed:
            net.to(self.type)
        if channels_last and self.device.type != "cpu":  # as training has it
            net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's annotation lacks it
        self.run: Callable[[Tensor], Tensor] = net

    def given(self, images: Tensor) -> Tensor:
        """Images as the net takes them: in the number format of its weights."""
        return images if self.mixed else images.to(self.type)

    @torch.inference_mode()
    def __call__(self, images: Tensor, /) -> Tensor:
        """Float32 images (B, C, H, W) on the device, normalised -> logits there."""
        around = contextlib.nullcontext()
        if self.mixed:
            around = torch.autocast(self.device.type, self.type)
        with around:
            return self.run(self.given(images))


class Eager:
    """A net in torch, on one device, in the precision of `device`."""

    def __init__(self, net: Net, train: Train, classes: Sequence[str], device: Device) -> None:
        self.net = net
        self.placed = Placed(net, device, channels_last=train.trainer.channels_last)
        self.type, self.mixed = self.placed.type, self.placed.mixed
        self.device = self.placed.device
        self.prepare = Prepare(train, len(classes))
        self.classes = tuple(classes)

    @torch.inference_mode()
    def __call__(self, images: Tensor, /) -> Tensor:
        """As `Scorer` says."""
        found = self.prepare.plain(images.to(self.device, non_blocking=True))
        return self.placed(found).float().cpu()

    def loss(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The net's own."""
        return self.net.loss(logits.to(self.device), labels.to(self.device))
