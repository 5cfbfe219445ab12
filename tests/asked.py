"""A small net and what a scorer reads of a configuration."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import Augment
from cnnctl.config.masks import Loss
from cnnctl.config.read import read
from cnnctl.nets.net import Net

CLASSES = ("cat", "dog", "owl")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)


def settings(size: int = 8) -> Any:
    """What of a configuration a scorer reads."""
    augment, problems = read(
        Augment, runs.read_config(paths.conf_dir() / "augment" / "none.yaml"), "augment"
    )
    assert problems == []
    return SimpleNamespace(
        augment=augment, seed=0, loss=Loss(name="own"), model={},
        trainer=SimpleNamespace(channels_last=True, accumulate=1),
        data=SimpleNamespace(
            name="made up", mean=MEAN, std=STD, size=size, channels=3, batch_size=4,
        ),
    )  # fmt: skip


class Flat(Net):
    """A convolution, and the mean over all places: for images of any size."""

    def __init__(self) -> None:
        layers = {
            "conv": nn.Conv2d(3, 5, 3), "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(),
            "drop": nn.Dropout(0.5), "output": nn.Linear(5, 3),
        }  # fmt: skip
        super().__init__(OrderedDict(layers), "torch")


def flat() -> Flat:
    torch.manual_seed(0)
    return Flat()


def images(count: int = 4, size: int = 8) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
