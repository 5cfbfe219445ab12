"""Images that each have a mask: both are read together, or neither."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cnnctl.data import decode
from cnnctl.data.decode import UPRIGHT
from cnnctl.data.source import Encoded, Images
from cnnctl.errors import DataError

SWAPPED = range(5, 9)  # EXIF orientations that swap height and width


class MaskFiles(Protocol):
    """Masks by number: what stands in each file, as class numbers."""

    def __getitem__(self, index: int, /) -> Tensor:
        """uint8 (H, W): the class of each pixel, or IGNORE. Raises DataError, naming the file."""
        ...

    def turned(self, index: int) -> int:
        """How the file says that it is stored, as `decode.turned` has it."""
        ...

    def name(self, index: int) -> str:
        """The file of a mask."""
        ...

    def pick(self, indices: np.ndarray) -> MaskFiles:
        """The masks at `indices`, in that order."""
        ...


class Pairs:
    """Images with a mask each. They have no class as a whole: `labels` are all 0."""

    def __init__(self, images: Images, masks: MaskFiles) -> None:
        self.images = images
        self.masks = masks
        self.labels = np.zeros(len(images.labels), np.int64)

    def __getitem__(self, index: int, /) -> Tensor:
        """The image alone: uint8 (C, H, W)."""
        return self.images[index]

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Image uint8 (C, H, W) and mask uint8 (planes, H, W), of which the first are the classes.

        Raises DataError, naming the file, if one of them cannot be read, if their sizes differ,
        or if it cannot be told which way round they belong together.
        """
        images, turned = self.images, UPRIGHT
        if isinstance(images, Encoded):
            stored = images.stored(index)
            image, turned = images.decoded(index, stored), decode.turned(stored)
        else:
            image = images[index]
        mask = self.masks[index]
        if image.shape[-2:] != mask.shape[-2:]:
            (tall, wide), (high, broad) = image.shape[-2:], mask.shape[-2:]
            text = f"mask {self.masks.name(index)} has {broad}x{high} pixels"
            text += f", but image {self.name(index)} has {wide}x{tall}"
            raise DataError(
                f"{text}, turned upright as its EXIF says" if turned != UPRIGHT else text
            )
        if turned != UPRIGHT and not (turned in SWAPPED and image.shape[-2] != image.shape[-1]):
            self._same_way(index, turned)
        return image, mask[None]

    def _same_way(self, index: int, turned: int) -> None:
        """An image that is stored turned needs a mask that is stored so, too: sizes do not tell."""
        if self.masks.turned(index) == UPRIGHT:
            text = f"image {self.name(index)} is stored turned (EXIF orientation {turned})"
            text += f", and mask {self.masks.name(index)} does not say whether it is, too"
            raise DataError(
                text, f"store the image upright: mogrify -auto-orient {self.name(index)}"
            )

    def name(self, index: int) -> str:
        """The file of the image."""
        return self.images.name(index)

    def pick(self, indices: np.ndarray) -> Pairs:
        """The pairs at `indices`, in that order."""
        return Pairs(self.images.pick(indices), self.masks.pick(indices))


class Held(Pairs):
    """Pairs that are in memory: `found` are images and masks as `Pairs.pair` gives them."""

    def __init__(self, found: list[tuple[Tensor, Tensor]], names: list[str]) -> None:
        self.found = found
        self.names = names
        self.labels = np.zeros(len(found), np.int64)

    def __getitem__(self, index: int, /) -> Tensor:
        return self.found[index][0]

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """As `Pairs` has it."""
        return self.found[index]

    def name(self, index: int) -> str:
        """What tells it from the others."""
        return self.names[index]

    def pick(self, indices: np.ndarray) -> Held:
        """The same images and masks."""
        numbers = indices.tolist()
        return Held([self.found[one] for one in numbers], [self.names[one] for one in numbers])

    @property
    def bytes(self) -> int:
        """Of all images and masks."""
        return sum(one.nbytes for pair in self.found for one in pair)


def pixels(pairs: Pairs, classes: int, most: int = 256) -> np.ndarray:
    """Pixels of each class, int64 (classes,), in up to `most` masks at equal distances."""
    places = np.unique(np.linspace(0, len(pairs.labels) - 1, most).astype(np.int64))
    counts = torch.zeros(classes, dtype=torch.int64)
    for place in places.tolist():
        _, mask = pairs.pair(place)
        counts += torch.bincount(mask[0].flatten().long(), minlength=classes)[:classes]
    return counts.numpy()
