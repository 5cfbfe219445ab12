"""A net that is ready to be asked: bytes in, logits out, whatever holds its weights."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

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


class Eager:
    """A net in torch, on one device, in the precision of `device`."""

    def __init__(self, net: Net, train: Train, classes: Sequence[str], device: Device) -> None:
        word, _, kind = device.precision.partition("-")
        self.type = TYPES.get(word, torch.float32)
        self.mixed = kind == "mixed"
        self.device = device.first
        self.net = net.eval().to(self.device)
        if not self.mixed:
            self.net.to(self.type)
        if train.trainer.channels_last and self.device.type != "cpu":  # as training has it
            self.net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's annotation lacks it
        self.prepare = Prepare(train, len(classes))
        self.classes = tuple(classes)

    @torch.inference_mode()
    def __call__(self, images: Tensor, /) -> Tensor:
        """As `Scorer` says."""
        found = self.prepare.plain(images.to(self.device, non_blocking=True))
        if self.mixed:
            around = torch.autocast(self.device.type, self.type)
        else:
            found, around = found.to(self.type), contextlib.nullcontext()
        with around:
            return self.net(found).float().cpu()

    def loss(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The net's own."""
        return self.net.loss(logits.to(self.device), labels.to(self.device))
