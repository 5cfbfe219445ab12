"""What every data set is, once loaded: class names, and images with labels for each split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from cnnctl.data import decode

NAMES = 10_000  # of the images of a split that tell it from another


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

    def __init__(
        self, pixels: Tensor, labels: np.ndarray, numbers: np.ndarray | None = None
    ) -> None:  # fmt: skip
        self.pixels = pixels
        self.labels = labels
        self.numbers = np.arange(len(labels)) if numbers is None else numbers

    def __getitem__(self, index: int, /) -> Tensor:
        return self.pixels[index]

    def batch(self, samples: np.ndarray) -> Tensor:
        """Several images at once: uint8 (B, C, H, W)."""
        return self.pixels.index_select(0, torch.from_numpy(samples))  # [samples] takes 20 x longer

    def name(self, index: int) -> str:
        """Its number in the whole set, of which this may be a part."""
        return f"image {self.numbers[index]}"

    def pick(self, indices: np.ndarray) -> Stored:
        """A copy."""
        return Stored(self.batch(indices), self.labels[indices], self.numbers[indices])


class Mapped(Stored):
    """Images that were decoded once into a memory map; its rows are those of `encoded.blobs`."""

    def __init__(self, pixels: Tensor, encoded: Encoded) -> None:
        super().__init__(pixels, encoded.labels)
        self.encoded = encoded

    def __getitem__(self, index: int, /) -> Tensor:
        return self.pixels[int(self.encoded.indices[index])]

    def batch(self, samples: np.ndarray) -> Tensor:
        """Several images at once: uint8 (B, C, H, W)."""
        return super().batch(self.encoded.indices[samples])

    def name(self, index: int) -> str:
        """The file that it was decoded from."""
        return self.encoded.name(index)

    def pick(self, indices: np.ndarray) -> Mapped:
        """Of the same map."""
        return Mapped(self.pixels, self.encoded.pick(indices))


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
        return self.decoded(index, self.stored(index))

    def stored(self, index: int) -> bytes:
        """What its file holds."""
        return self.blobs[int(self.indices[index])]

    def decoded(self, index: int, data: bytes) -> Tensor:
        """The image of what its file holds."""
        return decode.image(data, self.channels, self.name(index), self.least)

    def name(self, index: int) -> str:
        """The file's path."""
        return self.blobs.name(int(self.indices[index]))

    def at_least(self, least: int) -> Encoded:
        """The same images; large ones may be decoded at a part of their size."""
        return Encoded(
            self.blobs, self.labels, self.channels, indices=self.indices, least=least
        )  # fmt: skip

    def pick(self, indices: np.ndarray) -> Encoded:
        """Of the same blobs."""
        return Encoded(
            self.blobs, self.labels[indices], self.channels,
            indices=self.indices[indices], least=self.least,
        )  # fmt: skip


def _ending(name: str) -> str:
    """Folder and file: a whole set may be moved."""
    return "/".join(name.replace("\\", "/").split("/")[-2:])


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One split: where its pixels are, their bytes, and how many processes decode them.

    Of those that decode, `bytes` is what each of them has ready for the net. `kind` is memory,
    map (a cache, in the folder `file`) or decode; `why` says why there is no cache although one
    was possible.
    """

    kind: Literal["memory", "map", "decode"]
    bytes: int = 0
    workers: int = 0
    file: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set: its class names in the order of the labels, and its splits.

    `splits` has "train" and "val", and "test" if there is one; `skipped` names the files
    that were left out, with the reason; `feeds` how each split is read, once that is settled;
    `drawn` names the splits that a ratio or a fold made.
    """

    classes: tuple[str, ...]
    splits: dict[str, Images]
    skipped: dict[str, str] = field(default_factory=dict)
    feeds: dict[str, Feed] = field(default_factory=dict)
    drawn: tuple[str, ...] = ()

    def cut(self) -> dict[str, list[str]]:
        """The names of the images in the splits that we have cut off."""
        whole = {name: self.splits[name] for name in self.drawn}
        return {name: [one.name(i) for i in range(len(one.labels))] for name, one in whole.items()}

    def digest(self) -> str:
        """Another text if the images of a split are others: labels, and names of up to 10,000."""
        digest = hashlib.sha256()
        for split, images in self.splits.items():
            labels = images.labels
            step = max(1, len(labels) // NAMES)
            names = [_ending(images.name(place)) for place in range(0, len(labels), step)]
            digest.update(split.encode())
            digest.update(labels.astype("<i8").tobytes())
            digest.update("\0".join(names).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @property
    def sizes(self) -> dict[str, int]:
        """Images in each split."""
        return {name: len(images.labels) for name, images in self.splits.items()}
