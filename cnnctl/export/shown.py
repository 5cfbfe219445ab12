"""The images on which an export is proven."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from cnnctl.data.order import Ticket
from cnnctl.data.reading import Reader, Whole
from cnnctl.data.source import Encoded, Images, Mapped, Source

IMAGES = 256  # unless told
CHUNK = 96  # images that are held at a time: whole batches of 1, 3 and 32
RAW = 32  # images that are looked at in their own size
SCALES = ((3 / 2, 2), (4 / 5, 1), (1, 5 / 4))  # of height and width, where all fit already


@dataclass(frozen=True)
class Shown:
    """Some images of a split, evenly spread over it, as a net of `size` pixels is shown them."""

    split: str
    images: Images
    size: int

    def __len__(self) -> int:
        return len(self.images.labels)

    def chunks(self, most: int = CHUNK) -> Iterator[tuple[Tensor, Tensor]]:
        """uint8 (B, C, size, size) and labels int64 (B,), as `evaluate` reads them."""
        reader = Reader(self.images, Whole(self.size), 0)
        for start in range(0, len(self), most):
            samples = np.arange(start, min(start + most, len(self)))
            pixels = reader.batch(Ticket(samples, None))
            yield pixels.images, pixels.labels

    def raw(self) -> tuple[list[tuple[Tensor, Tensor]], bool]:
        """Images uint8 (1, C, H, W) as the data set has them, with labels (1,).

        Where all of them have the net's size already they are enlarged and shrunk, and the
        answer says True: nothing else would show that the file can resize.
        """
        places = range(0, len(self), max(1, len(self) // RAW))
        found = [(self._whole(place), place) for place in places]
        fit = all(image.shape[-2:] == (self.size, self.size) for image, _ in found)
        if fit:
            found = [
                (_scaled(image, *SCALES[number % len(SCALES)]), place)
                for number, (image, place) in enumerate(found)
            ]
        labels = torch.from_numpy(self.images.labels)
        return [(image[None], labels[place : place + 1]) for image, place in found], fit

    def _whole(self, place: int) -> Tensor:
        images = self.images.encoded if isinstance(self.images, Mapped) else self.images
        if isinstance(images, Encoded):  # a large JPEG at its own size, too
            images = Encoded(images.blobs, images.labels, images.channels, indices=images.indices)
        return images[place]


def choose(source: Source, split: str, count: int, size: int) -> Shown:
    """`count` images of a split, or all that it has."""
    images = source.splits[split]
    has = len(images.labels)
    count = min(count, has)
    return Shown(split, images.pick(np.arange(count) * has // count), size)


def _scaled(image: Tensor, high: float, wide: float) -> Tensor:
    height, width = image.shape[-2:]
    sides = [max(1, round(height * high)), max(1, round(width * wide))]
    return functional.resize(image, sides, antialias=True)
