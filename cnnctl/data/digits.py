"""Handwritten digits: 1,797 images of 8x8 with 17 grey levels, shipped inside the package.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, 1998 (the part optdigits.tes), licence CC BY 4.0.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from cnnctl.config.images import Data, Digits
from cnnctl.data.source import Images, Source, Stored
from cnnctl.data.split import divide

CLASSES = tuple("0123456789")
LEVELS = 16  # the file holds 0..16, one count per 4x4 block of a bitmap


def load(data: Data) -> Source:
    """The digits, enlarged to data.size, in stratified splits fixed by data.split_seed."""
    assert isinstance(data, Digits)
    with (files("cnnctl.data") / "digits.npz").open("rb") as file, np.load(file) as arrays:
        images = torch.from_numpy(arrays["images"].astype(np.float32)) * (255 / LEVELS)
        labels = arrays["labels"].astype(np.int64)
    images = functional.resize(images.unsqueeze(1), [data.size, data.size], antialias=True)
    images = images.round().to(torch.uint8).expand(-1, data.channels, -1, -1)
    whole = Stored(images, labels)
    parts = divide(labels, data, CLASSES)
    splits: dict[str, Images] = {name: whole.pick(found) for name, found in parts.items()}
    return Source(CLASSES, splits, drawn=("val", "test"))
