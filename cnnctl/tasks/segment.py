"""Segmentation: a class for every pixel, judged by the overlap of each class with its mask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cnnctl.config.masks import IGNORE
from cnnctl.data.prepare import Batch
from cnnctl.errors import CnnctlError
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Measured, is_oom
from cnnctl.tasks.steps import Configure
from cnnctl.tasks.task import Task


class Segment(Task):
    """Trains and measures `net`: images (B, C, H, W) -> logits (B, classes, H, W).

    With `mirror` what is measured is the mean of the logits of an image and of its mirror image,
    mirrored back. Logits are resized to the mask where that is larger or smaller than the image.
    `how` is that of `Steps`.

    The figures are those of `overlaps`, and the loss: of training what it makes small, of val and
    test the mean cross-entropy of the pixels.
    """

    FIGURE = "miou"

    def __init__(
        self, net: Net, classes: int, configure: Configure | None = None, **how: Any
    ) -> None:  # fmt: skip
        super().__init__(net, configure, **how)
        self.classes = classes

    def tally(self) -> Overlap:
        """No pixels yet."""
        return Overlap(self.classes, self.device)

    def means(self, sums: Tensor) -> dict[str, float]:
        """The figures of an epoch."""
        *counts, loss, _ = sums.cpu().double().split([self.classes**2, 1, 1])
        confusion = counts[0].view(self.classes, self.classes)
        return {"loss": float(loss / confusion.sum().clamp(min=1)), **overlaps(confusion)}

    def measured(self, batch: Batch) -> Measured:
        """One batch of images of one size. Raises CnnctlError if they are too large."""
        with measuring(batch.images, "make them smaller: data.resize=…"):
            logits: Any = self.net(batch.images)
            if self.mirror:
                logits = (logits + self.net(batch.images.flip(3)).flip(3)) / 2
            logits = fitted(logits, batch.labels)
            return Measured(self.net.loss(logits, batch.labels), logits, batch.labels)


class Overlap:
    """Pixels of each class that are taken for each class, kept on the device.

    `sums` are the confusion matrix, row by row (mask by row, net by column), loss x pixels, and
    images: float64 where the device has it.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        kind = torch.float32 if device.type == "mps" else torch.float64
        self.classes = classes
        self.sums = torch.zeros(classes**2 + 2, dtype=kind, device=device)

    def restore(self, sums: Tensor) -> None:
        """Go on from these."""
        self.sums.copy_(sums)

    @torch.no_grad()
    def add(self, measured: Measured) -> None:
        """Count one batch: mean loss (), logits (B, classes, H, W), masks (B, planes, H, W)."""
        loss, logits, labels = measured
        found = confusion(logits.argmax(1), labels[:, 0], self.classes)
        self.sums[:-2] += found.flatten()
        self.sums[-2] += loss.to(self.sums.dtype) * found.sum()
        self.sums[-1] += len(labels)


def confusion(predicted: Tensor, wanted: Tensor, classes: int) -> Tensor:
    """Pixels by class of the mask (row) and of the net (column), int64 (classes, classes).

    Both are (…) of any equal shape; pixels that `wanted` ignores are left out.
    """
    pairs = torch.where(wanted == IGNORE, classes**2, wanted.long() * classes + predicted)
    counts = torch.bincount(pairs.flatten(), minlength=classes**2 + 1)
    return counts[:-1].view(classes, classes)


def overlaps(counts: Tensor) -> dict[str, float]:
    """What a confusion matrix (classes, classes) comes to, all in 0..1.

    miou is the mean over the classes of intersection / union, dice that of 2 intersection / (mask +
    prediction), over the classes that mask or prediction have at all (Everingham et al. 2010,
    section 4.3, for the first); pixel_accuracy is the share of the pixels that are right.
    """
    hits, masks, found = counts.diag(), counts.sum(1), counts.sum(0)
    there = masks + found > 0
    both = (masks + found)[there]
    hits = hits[there]
    if not len(both):
        return {"miou": 0.0, "dice": 0.0, "pixel_accuracy": 0.0}
    return {
        "miou": float((hits / (both - hits)).mean()),
        "dice": float((2 * hits / both).mean()),
        "pixel_accuracy": float(hits.sum() / counts.sum()),
    }


@contextlib.contextmanager
def measuring(images: Tensor, hint: str) -> Iterator[None]:
    """Raises CnnctlError, with `hint`, where images (B, C, H, W) do not fit into the memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_oom(error):
            raise
        count, _, height, width = images.shape
        few = "an image" if count == 1 else f"{count} images"
        text = f"out of memory: {few} of {width}x{height} pixels, which are measured whole"
        raise CnnctlError(text, hint) from None


def fitted(logits: Tensor, masks: Tensor) -> Tensor:
    """Logits (B, classes, H, W) as large as masks (…, H', W')."""
    if logits.shape[-2:] == masks.shape[-2:]:
        return logits
    return interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False)
