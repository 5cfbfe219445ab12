"""One pass over the images of a split: what is broken, and figures that tell images apart.

Memory grows by a hundred bytes an image, whatever its size.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from cnnctl.data import decode, parts
from cnnctl.data.duplicates import COLUMNS, ROWS
from cnnctl.data.source import Encoded, Images
from cnnctl.errors import DataError

PART = 32  # images that one thread looks at before it says so
MOST = 1 << 22  # values of the images that are looked at together
THUMB = (ROWS, COLUMNS)
KEY = 8  # bytes of a hash: among a million images two meet by chance once in 10^7 data sets
WHITE = 255
NAMES = {"MPO": "JPEG"}  # JPEGs of some cameras have a second picture behind the first
Tell = Callable[[int, int], None]  # images done, images in all
View = Callable[[Tensor], Tensor]


@dataclass
class Survey:
    """What was found; arrays have one row per image, zeros where it could not be read.

    `files` and `pixels` are hashes, uint64 (N,), of the file and of what was decoded; `files`
    are 0 where there is none. `thumbs` are grey, uint8 (N, 8, 9); `sizes` height and width,
    int32 (N, 2). `sums` are of the intensities in 0..1 and of their squares, float64 (2, C), over
    `count` pixels of images as the net sees them.
    """

    files: np.ndarray
    pixels: np.ndarray
    thumbs: np.ndarray
    sizes: np.ndarray
    broken: dict[int, str] = field(default_factory=dict)
    misnamed: dict[int, str] = field(default_factory=dict)  # the format that it has
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    sums: np.ndarray = field(default_factory=lambda: np.zeros((2, 1)))
    count: int = 0

    @classmethod
    def empty(cls, images: int) -> Survey:
        """Nothing found yet."""
        keys = np.zeros((2, images), np.uint64)
        return cls(
            keys[0], keys[1], np.zeros((images, *THUMB), np.uint8), np.zeros((images, 2), int)
        )

    @property
    def sound(self) -> np.ndarray:
        """Which images could be read, bool (N,)."""
        found = np.ones(len(self.pixels), bool)
        found[list(self.broken)] = False
        return found

    @property
    def mean(self) -> list[float]:
        """Of each channel, intensities in 0..1."""
        return (self.sums[0] / self.count).tolist()

    @property
    def std(self) -> list[float]:
        """Of each channel, over all pixels."""
        mean, square = self.sums / self.count
        return np.sqrt(np.maximum(0, square - mean**2)).tolist()


class Header(NamedTuple):
    """What the first bytes of a file say."""

    format: str
    mode: str


def survey(images: Images, view: View, tell: Tell) -> Survey:
    """Everything is decoded once, in threads; nothing stops at an image that cannot be read.

    `view` makes of several images what the net sees, over which mean and deviation are taken.
    """
    count = len(images.labels)
    found, done = Survey.empty(count), 0

    def part(start: int) -> Survey:
        return _looked_at(images, range(start, min(start + PART, count)), view)

    for made in parts.run(part, range(0, count, PART)):
        _add(found, made, done)
        done += len(made.pixels)
        tell(done, count)
    return found


def header(data: bytes) -> Header | None:
    """Format, as JPEG or PNG, and mode, as RGB or L; None if it is no image that PIL knows."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            kind = opened.format or "?"
            return Header(NAMES.get(kind, kind), opened.mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def named_after(name: str) -> str | None:
    """The format that the ending of a file promises; None if it promises none."""
    kind = Image.registered_extensions().get(PurePath(name).suffix.lower())
    return None if kind is None else NAMES.get(kind, kind)


def _looked_at(images: Images, numbers: range, view: View) -> Survey:
    found = Survey.empty(len(numbers))
    for rows, pixels in _stacks(images, numbers, found):
        found.sizes[rows] = pixels.shape[2:]
        salt = np.array(pixels.shape[2:], ">u8").tobytes()
        found.pixels[rows] = [_key(one.numpy().tobytes(), salt) for one in pixels]
        found.thumbs[rows] = _thumbs(pixels)
        seen = view(pixels).flatten(2).int()
        sums = torch.stack([seen.sum((0, 2)), (seen * seen).sum((0, 2))]).double().numpy()
        found.sums = found.sums + sums / np.array([[WHITE], [WHITE**2]])
        found.count += seen.shape[0] * seen.shape[2]
    return found


def _stacks(images: Images, numbers: range, found: Survey) -> Iterator[tuple[list[int], Tensor]]:
    """Images of one size, uint8 (B, C, H, W), and their rows; the broken ones are noted."""
    rows: list[int] = []
    stack: list[Tensor] = []
    for row, number in enumerate(numbers):
        try:
            pixels = _read(images, number, row, found)
        except DataError as wrong:
            found.broken[row] = wrong.message.removeprefix(
                f"cannot read image {images.name(number)}: "
            )
            continue
        if stack and (pixels.shape != stack[0].shape or (len(stack) + 1) * pixels.numel() > MOST):
            yield rows, torch.stack(stack)
            rows, stack = [], []
        rows.append(row)
        stack.append(pixels)
    if stack:
        yield rows, torch.stack(stack)


def _read(images: Images, number: int, row: int, found: Survey) -> Tensor:
    """One image, whole; what its file says of itself is noted."""
    if not isinstance(images, Encoded):
        return images[number]
    place = int(images.indices[number])
    name, data = images.blobs.name(place), images.blobs[place]
    pixels = decode.image(data, images.channels, name)
    told = header(data)
    if told is not None:
        found.files[row] = _key(data)
        found.formats[told.format] += 1
        found.modes[told.mode] += 1
        if named_after(name) not in {None, told.format}:
            found.misnamed[row] = told.format
    return pixels


def _thumbs(pixels: Tensor) -> np.ndarray:
    """Grey and 9x8, uint8 (B, 8, 9)."""
    small = functional.interpolate(pixels, THUMB, mode="bilinear", antialias=True)
    return small.float().mean(1).round().to(torch.uint8).numpy()


def _key(data: bytes, salt: bytes = b"") -> int:
    """64 bits of BLAKE2, in which images of other shapes have another salt."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=KEY, salt=salt).digest())


def _add(whole: Survey, part: Survey, start: int) -> None:
    rows = slice(start, start + len(part.pixels))
    for name in ("files", "pixels", "thumbs", "sizes"):
        getattr(whole, name)[rows] = getattr(part, name)
    whole.broken |= {start + row: reason for row, reason in part.broken.items()}
    whole.misnamed |= {start + row: kind for row, kind in part.misnamed.items()}
    whole.formats += part.formats
    whole.modes += part.modes
    whole.sums = whole.sums + part.sums
    whole.count += part.count


def joined(parts: Sequence[Survey]) -> Survey:
    """Several splits one after the other; without the figures over all of their pixels."""
    whole = Survey.empty(sum(len(part.pixels) for part in parts))
    start = 0
    for part in parts:
        _add(whole, part, start)
        start += len(part.pixels)
    return whole
