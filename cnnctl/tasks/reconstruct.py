"""Images made anew from less: judged by how much of their differences is explained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cnnctl.data.prepare import Batch
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.steps import Configure
from cnnctl.tasks.task import Task

LEAST = 1e-12  # of a mean squared error in decibels: images that are equal have 120 dB


class Reconstruct(Task):
    """Trains and measures `net`: images (B, C, H, W) -> the same images, the labels of a batch.

    With `mirror` what is measured is the mean of what the net makes of an image and of its mirror
    image, mirrored back. `deviation` are the numbers (C,) by which the images were divided: an
    error times these is one of intensities in 0..1. `how` is that of `Steps`.

    The figures are those of `likeness`, and the loss, of images as the net sees them.
    """

    FIGURE = "explained"

    def __init__(
        self, net: Net, classes: int, configure: Configure | None = None, *,
        deviation: Sequence[float], **how: Any,
    ) -> None:  # fmt: skip
        super().__init__(net, configure, **how)
        self.classes = classes
        self.deviation = tuple(deviation)

    def again(self, net: Net) -> Reconstruct:
        """The same task with another net, to measure it."""
        return Reconstruct(net, self.classes, mirror=self.mirror, deviation=self.deviation)

    def tally(self) -> Likeness:
        """No pixels yet."""
        return Likeness(self.deviation, self.device)

    def means(self, sums: Tensor) -> dict[str, float]:
        """The figures of an epoch."""
        *parts, loss, images = sums.tolist()
        return {"loss": loss / images, **likeness(parts)}

    def measured(self, batch: Batch) -> Measured:
        """One batch, and its mirror image if that is wanted."""
        found = self.measure(batch.images, batch.labels)
        if not self.mirror:
            return found
        made = (found.logits + self.net(batch.images.flip(3)).flip(3)) / 2
        return Measured(self.net.loss(made, batch.labels), made, batch.labels)


class Likeness:
    """Sums over an epoch, kept on the device.

    `sums` are those of `parts` over the images, loss x images, and images: float64 (5 + C,) where
    the device has it.
    """

    def __init__(self, deviation: Sequence[float], device: torch.device) -> None:
        kind = torch.float32 if device.type == "mps" else torch.float64
        self.deviation = torch.tensor(deviation, device=device)
        self.sums = torch.zeros(len(deviation) + 5, dtype=kind, device=device)

    def restore(self, sums: Tensor) -> None:
        """Go on from these."""
        self.sums.copy_(sums)

    @torch.no_grad()
    def add(self, measured: Measured) -> None:
        """Count one batch: mean loss (), images (B, C, H, W) as they were made and as they are."""
        loss, made, wanted = measured
        self.sums[:-2] += parts(made, wanted, self.deviation).to(self.sums.dtype).sum(0)
        self.sums[-2] += loss * len(wanted)
        self.sums[-1] += len(wanted)


def parts(made: Tensor, wanted: Tensor, deviation: Tensor) -> Tensor:
    """What each image adds to the figures of several, float32 (B, 3 + C).

    `made` and `wanted` are (B, C, H, W), divided by `deviation` (C,). In the order of a row: the
    squared error, the squares of what is wanted, the pixels of a channel, and the sum of each
    channel; intensities without their mean, which `likeness` does not need.
    """
    scale = deviation.view(-1, 1, 1)
    true = wanted.float() * scale
    error = (made.float() * scale - true).square().sum((1, 2, 3))
    pixels = torch.full_like(error, true[0, 0].numel())
    whole = torch.stack((error, true.square().sum((1, 2, 3)), pixels), 1)
    return torch.cat((whole, true.sum((2, 3))), 1)


def likeness(sums: Sequence[float]) -> dict[str, float]:
    """What sums (3 + C,) of the rows of `parts` come to.

    mse is the mean squared error of intensities in 0..1, psnr the same in decibels against the
    largest intensity, 10 log10(1 / mse). explained is 1 − squared error / squared distance of the
    pixels from the mean of their channel: 1 for the images themselves, 0 for nothing but their
    mean colour, and below 0 for what is worse than that.
    """
    error, squares, pixels, *channels = sums
    mse = error / (pixels * len(channels))
    spread = squares - sum(one**2 for one in channels) / pixels
    return {
        "mse": mse,
        "psnr": -10 * math.log10(max(mse, LEAST)),
        "explained": 1 - error / spread if spread > 0 else 0.0,
    }
