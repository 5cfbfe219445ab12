"""Noise instead of images, to try how fast a machine trains."""

from __future__ import annotations

import numpy as np
import torch

from cnnctl.config.images import Data, Fake
from cnnctl.data.source import Images, Source, Stored
from cnnctl.data.split import divide

# torchvision's FakeData draws every pixel anew, as a float, whenever an image is read, so that
# a trial of speed would measure the generator of random numbers.


def load(data: Data) -> Source:
    """As many images as configured, their classes and pixels fixed by data.split_seed.

    All are uint8 (channels, size, size), and every level is as frequent. Image i is the noise
    from byte i on, so that a million images take one megabyte more than one.
    Raises DataError if there are too few for one image of every class in every split.
    """
    assert isinstance(data, Fake)
    classes = tuple(str(number) for number in range(data.classes))
    generator = np.random.default_rng(data.split_seed)
    labels = generator.permutation(np.arange(data.images, dtype=np.int64) % data.classes)
    parts = divide(labels, data, classes)
    shape = (data.channels, data.size, data.size)
    noise = torch.from_numpy(
        generator.integers(0, 256, np.prod(shape) + data.images, dtype=np.uint8)
    )
    pixels = noise.as_strided((data.images, *shape), (1, data.size**2, data.size, 1))
    splits: dict[str, Images] = {}
    start = 0
    for name, indices in parts.items():  # a run of images each: picking them would copy them
        end = start + len(indices)
        splits[name] = Stored(pixels[start:end], labels[indices], indices)
        start = end
    return Source(classes, splits, drawn=("val", "test"))
