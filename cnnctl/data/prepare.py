"""From a batch as it was read to what the net sees; on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cnnctl.config import tasks
from cnnctl.config.schema import Train
from cnnctl.data import augment
from cnnctl.data.augment import together
from cnnctl.data.draws import Draws
from cnnctl.data.order import Ticket
from cnnctl.data.reading import Pixels

WHITE = 255


class Batch(NamedTuple):
    """What the net sees: images (B, C, size, size), labels, and the ticket they came by.

    Labels are int64 (B,), or float32 (B, classes): shares of the classes where images are mixed,
    or masks, uint8 (B, planes, H, W), or, for a net that makes images anew, the images themselves.
    """

    images: Tensor
    labels: Tensor
    ticket: Ticket


class Prepare:
    """Random changes, and float32 with the mean subtracted and divided by the deviation."""

    def __init__(self, train: Train, classes: int) -> None:
        self.of_bytes = augment.of_bytes(train.augment)
        self.of_pairs = together.of_pairs(train.augment)
        self.of_intensities = augment.of_intensities(train.augment)
        self.of_normalised = augment.of_normalised(train.augment)
        self.mix = augment.of_batches(train.augment, classes)
        self.itself = tasks.of(train.model) == "reconstruct"
        self.seed = train.seed
        self.channels_last = train.trainer.channels_last
        deviation = torch.tensor(train.data.std) * WHITE
        self.scale = self._spread(1 / deviation, train.data.size)
        self.shift = self._spread(
            -torch.tensor(train.data.mean) * WHITE / deviation, train.data.size
        )

    def __call__(self, pixels: Pixels) -> Batch:
        """Images in float32."""
        images, labels, ticket = pixels
        if ticket.epoch is None:
            return self._batch(self.plain(images), labels, ticket)
        draws = Draws(self.seed, ticket.epoch, ticket.samples)
        if labels.ndim > 1:  # masks
            for change in self.of_pairs:
                images, labels = change(images, labels, draws)
        else:
            for change in self.of_bytes:
                images = change(images, draws)
        images = self._floats(images)
        for change in self.of_intensities:
            images = change(images, draws)
        images = self._normalise(images)
        for change in self.of_normalised:
            images = change(images, draws)
        if self.mix:
            images, labels = self.mix(images, labels, draws)
        return self._batch(images, labels, ticket)

    def plain(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) of any size as the net sees them without random changes."""
        return self._normalise(self._floats(images))

    def _batch(self, images: Tensor, labels: Tensor, ticket: Ticket) -> Batch:
        return Batch(images, images if self.itself else labels, ticket)

    def _floats(self, images: Tensor) -> Tensor:
        """The same values, float32, in the layout that is wanted."""
        if not self.channels_last:
            return images.to(torch.float32, memory_format=torch.contiguous_format)
        # twice as fast as a copy with another memory_format
        return torch.stack(images.unbind(1), 3).to(torch.float32).permute(0, 3, 1, 2)

    def _normalise(self, images: Tensor) -> Tensor:
        if self.scale.device != images.device:
            self.scale, self.shift = self.scale.to(images.device), self.shift.to(images.device)
        scale, shift = self.scale, self.shift
        if images.shape[-2:] != scale.shape[-2:]:  # the same numbers, more slowly
            scale, shift = scale[:, :, :1, :1], shift[:, :, :1, :1]
        return images.mul_(scale).add_(shift)

    def _spread(self, numbers: Tensor, size: int) -> Tensor:
        """One number per channel -> (1, C, size, size): several times faster than to broadcast."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return numbers.view(1, -1, 1, 1).expand(-1, -1, size, size).contiguous(memory_format=layout)
