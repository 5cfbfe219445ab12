"""From a uint8 image to what the net sees: resize, random changes, normalise."""

from __future__ import annotations

import torch
from torchvision.transforms import v2

from cnnctl.config.schema import Augment, Data
from cnnctl.data.source import Transform


def evaluation(data: Data) -> Transform:
    """uint8 (C, H, W) -> float32 (C, size, size): resize the short side, crop the centre."""
    return v2.Compose([*_whole(data), *_normalise(data)])


def training(data: Data, augment: Augment) -> Transform:
    """As `evaluation`, with the random changes of `augment` before normalising."""
    steps: list[torch.nn.Module] = []
    if augment.crop is None:
        steps += _whole(data)
    else:
        steps.append(v2.RandomResizedCrop(data.size, scale=augment.crop, antialias=True))
    if augment.shift:
        steps.append(v2.RandomCrop(data.size, padding=augment.shift))
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.rotate:
        steps.append(
            v2.RandomRotation([-augment.rotate, augment.rotate], v2.InterpolationMode.BILINEAR)
        )
    return v2.Compose([*steps, *_normalise(data)])


def _whole(data: Data) -> list[torch.nn.Module]:
    return [v2.Resize(data.size, antialias=True), v2.CenterCrop(data.size)]


def _normalise(data: Data) -> list[torch.nn.Module]:
    scale = v2.ToDtype(torch.float32, scale=True)
    return [scale, v2.Normalize(list(data.mean), list(data.std))]
