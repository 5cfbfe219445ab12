"""What every data set is, once loaded: class names, and images with labels for each split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from cnnctl.data import decode


class Images(Protocol):
    """Labelled images; `labels` are class numbers, int64 (N,)."""

    labels: np.ndarray

    def __getitem__(self, index: int, /) -> Tensor:
        """One image: uint8 (C, H, W) of any size. Raises DataError, naming it, if broken."""
        ...

    def name(self, index: int) -> str:
        """The file of an image, or what else tells it from the others."""
        ...

    def pick(self, indices: np.ndarray) -> Images:
        """The images at `indices`, in that order."""
        ...


class Blobs(Protocol):
    """Images as they are stored, JPEG or PNG or any other format: bytes by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> bytes:
        """What a file holds. Raises DataError, naming it, if it cannot be read."""
        ...

    def name(self, index: int) -> str:
        """The path of a file, or its place in an archive."""
        ...

    def stamp(self) -> str:
        """Another text whenever any of the files has changed; nothing is decoded for it."""
        ...


class Part(NamedTuple):
    """One split as it was found: blobs, their class numbers int64 (N,), the classes' names."""

    blobs: Blobs
    labels: np.ndarray
    classes: tuple[str, ...]


class Stored:
    """Images of one size that are in memory, or in a memory map: uint8 (N, C, H, W)."""

    def __init__(self, pixels: Tensor, labels: np.ndarray, names: list[str] | None = None) -> None:
        self.pixels = pixels
        self.labels = labels
        self.names = names or []

    def __getitem__(self, index: int, /) -> Tensor:
        return self.pixels[index]

    def name(self, index: int) -> str:
        """The file that the image was decoded from, or its number."""
        return self.names[index] if self.names else f"image {index}"

    def pick(self, indices: np.ndarray) -> Stored:
        """A copy: later slices of it are one piece of memory."""
        names = [self.names[index] for index in indices.tolist()] if self.names else []
        return Stored(self.pixels[torch.from_numpy(indices)], self.labels[indices], names)


class Encoded:
    """Images that are decoded each time they are wanted: number `indices[i]` of `blobs`.

    With `least`, a large JPEG may be decoded at a half, a quarter or an eighth of its size, as
    long as its short side keeps so many pixels: several times faster, and what is resized
    afterwards differs by a level or two.
    """

    def __init__(
        self, blobs: Blobs, labels: np.ndarray, channels: int, *,
        indices: np.ndarray | None = None, least: int | None = None,
    ) -> None:  # fmt: skip
        self.blobs = blobs
        self.labels = labels
        self.channels = channels
        self.indices = np.arange(len(blobs)) if indices is None else indices
        self.least = least

    def __getitem__(self, index: int, /) -> Tensor:
        place = int(self.indices[index])
        name = self.blobs.name(place)
        return decode.image(self.blobs[place], self.channels, name, self.least)

    def name(self, index: int) -> str:
        """The file's path."""
        return self.blobs.name(int(self.indices[index]))

    def pick(self, indices: np.ndarray) -> Encoded:
        """Of the same blobs."""
        return Encoded(
            self.blobs, self.labels[indices], self.channels,
            indices=self.indices[indices], least=self.least,
        )  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A data set: its class names in the order of the labels, and its splits.

    `splits` has "train" and "val", and "test" if there is one; `skipped` names the files
    that were left out because they could not be read, with the reason.
    """

    classes: tuple[str, ...]
    splits: dict[str, Images]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Images in each split."""
        return {name: len(images.labels) for name, images in self.splits.items()}
