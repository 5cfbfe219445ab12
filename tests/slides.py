"""Small nets that can slide, and images to ask them about."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from asked import CLASSES, flat, images, settings
from learners import CPU
from torch import Tensor, nn

from cnnctl.data.source import Feed, Source, Stored
from cnnctl.nets.net import Net
from cnnctl.scoring.scorer import Eager
from cnnctl.scoring.scores import Scores, score
from cnnctl.scoring.ways import Way

SIZE = 8  # pixels of the nets here


class Vgg(Net):
    """Two stages and two dense layers, for 8x8 pixels."""

    def __init__(self) -> None:
        layers = {
            "conv1": nn.Conv2d(3, 4, 3, padding=1), "act1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(4, 6, 3, padding=1), "act2": nn.ReLU(), "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(), "fc3": nn.Linear(24, 9), "act3": nn.ReLU(),
            "drop3": nn.Dropout(0.5), "fc4": nn.Linear(9, 3),
        }  # fmt: skip
        super().__init__(OrderedDict(layers), "torch")


def vgg() -> Eager:
    torch.manual_seed(3)
    net = Vgg()
    with torch.no_grad():
        net.get_submodule("fc4").weight.mul_(9)  # answers that differ between images
    return Eager(net, settings(SIZE), CLASSES, CPU)


def gap() -> Eager:
    return Eager(flat(), settings(SIZE), CLASSES, CPU)


def stored(count: int = 10, size: int = SIZE) -> Source:
    torch.manual_seed(1)
    pictures = Stored(images(count, size), np.arange(count) % 3)
    return Source(CLASSES, {"test": pictures}, feeds={"test": Feed(kind="memory")})


def measured(scorer: Any, way: Way, source: Source) -> Scores:
    return score(scorer, source, "test", settings(SIZE), way, lambda *_: None)


def pixels(source: Source) -> Tensor:
    images: Any = source.splits["test"]
    return images.pixels
