"""Handwritten digits: 1,797 images of 8x8 with 17 grey levels, shipped inside the package.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, 1998 (the part optdigits.tes), licence CC BY 4.0.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from cnnctl.config.images import Data, Digits
from cnnctl.data.source import Images, Source, Stored
from cnnctl.data.split import divide

CLASSES = tuple("0123456789")
LEVELS = 16  # the file holds 0..16, one count per 4x4 block of a bitmap


def load(data: Data) -> Source:
    """The digits, enlarged to data.size, in stratified splits fixed by data.split_seed."""
    assert isinstance(data, Digits)
    images, labels = _read(data.size)
    whole = Stored(images.expand(-1, data.channels, -1, -1), labels)
    parts = divide(labels, data, CLASSES)
    splits: dict[str, Images] = {name: whole.pick(found) for name, found in parts.items()}
    return Source(CLASSES, splits, drawn=("val", "test"))


def one(number: int, size: int) -> Tensor:
    """One of them, uint8 (1, size, size)."""
    return _read(size)[0][number]


def _read(size: int) -> tuple[Tensor, np.ndarray]:
    """All of them enlarged, uint8 (N, 1, size, size), and their labels int64 (N,)."""
    with (files("cnnctl.data") / "digits.npz").open("rb") as file, np.load(file) as arrays:
        images = torch.from_numpy(arrays["images"].astype(np.float32)) * (255 / LEVELS)
        labels = arrays["labels"].astype(np.int64)
    images = functional.resize(images.unsqueeze(1), [size, size], antialias=True)
    return images.round().to(torch.uint8), labels
