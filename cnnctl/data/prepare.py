"""From a batch as it was read to what the net sees; on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnctl.config.schema import Train
from cnnctl.data import augment
from cnnctl.data.draws import Draws
from cnnctl.data.reading import Pixels

WHITE = 255


class Prepare:
    """Random changes, then float32 with the mean subtracted and divided by the deviation."""

    def __init__(self, train: Train) -> None:
        self.changes = augment.changes(train.augment)
        self.seed = train.seed
        last = train.trainer.channels_last
        self.layout = torch.channels_last if last else torch.contiguous_format
        deviation = torch.tensor(train.data.std) * WHITE
        self.scale = (1 / deviation).view(-1, 1, 1)
        self.shift = (-torch.tensor(train.data.mean) * WHITE / deviation).view(-1, 1, 1)

    def __call__(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Images float32 (B, C, size, size) and labels int64 (B,)."""
        images, (samples, epoch) = pixels.images, pixels.ticket
        if epoch is not None:
            draws = Draws(self.seed, epoch, samples)
            for change in self.changes:
                images = change(images, draws)
        if self.scale.device != images.device:
            self.scale, self.shift = self.scale.to(images.device), self.shift.to(images.device)
        floats = images.to(torch.float32, memory_format=self.layout)
        return floats.mul_(self.scale).add_(self.shift), pixels.labels
