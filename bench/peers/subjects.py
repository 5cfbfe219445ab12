"""The nets and data sets of the scripts beside this file, as such scripts have them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.data import Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

DIGITS = Path(__file__).parents[2] / "cnnctl" / "data" / "digits.npz"
PARTS = {"train": slice(0, 1259), "val": slice(1259, 1438), "test": slice(1438, 1797)}
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Digits(Dataset[tuple[Any, int]]):
    """As torchvision's MNIST: arrays in memory, each an image of PIL when it is asked for."""

    def __init__(self, split: str) -> None:
        with np.load(DIGITS) as arrays:
            found = [Image.fromarray((image * 15).astype(np.uint8)) for image in arrays["images"]]
            self.labels = arrays["labels"].astype(int).tolist()[PARTS[split]]
        self.images = [np.array(image.resize((32, 32))) for image in found[PARTS[split]]]
        steps = [transforms.ToTensor(), transforms.Normalize([0.3057], [0.3241])]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def images(name: str, split: str) -> Dataset[tuple[Any, int]]:
    """`digits` as they are, or a folder of 32x32 photos, for training shifted and flipped."""
    if name == "digits":
        return Digits(split)
    change = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    steps = [transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    chosen = [*change, *steps] if split == "train" else steps
    return ImageFolder(str(Path(name) / split), transforms.Compose(chosen))


def net(name: str, channels: int) -> nn.Module:
    """`lenet5` or `resnet20`, for ten classes."""
    return lenet5(channels) if name == "lenet5" else resnet20(channels)


def lenet5(channels: int) -> nn.Module:
    """LeCun et al. 1998."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Two convolutions and a shortcut that is padded with zeros (He et al. 2016, option A)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.stride = c_out // c_in
        self.more = (c_out - c_in) // 2
        self.branch = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, self.stride, 1, bias=False), nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H / stride, W / stride)."""
        short = images
        if self.stride > 1:
            short = pad(images[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
        return torch.relu(self.branch(images) + short)


def resnet20(channels: int) -> nn.Module:
    """He et al. 2016, section 4.2."""
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [Block(c_in, c_out) for c_in, c_out in pairwise(widths)]
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
        *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
