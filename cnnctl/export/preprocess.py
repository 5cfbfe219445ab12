"""What is done to an image before the net sees it, as part of a file: any size in, floats out.

Resizing is two matrix products, whose weights are computed in the graph from the height and the
width. They are the weights of torch's resize of bytes (Pillow's, since version 3.3): a triangle,
stretched where the image shrinks, in whole multiples of 2^-bits, and each of the two passes is
rounded to bytes. So the pixels are those that training has seen, to the bit; where images shrink
more than fourfold, weights have more bits than a sum in float32, and one pixel in hundreds may be
a level off.

Whatever is counted is counted from a buffer: of torch.arange a trace keeps the device, and the file
would run on no other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WHITE = 255
WEIGHT = 2**15  # a weight is an integer below this
MOST_BITS = 22  # behind the point of a weight


class Preprocess(nn.Module):
    """uint8 (B, C, H, W) of any height and width -> float32 (B, C, size, size), normalised.

    The short side is resized to `size` and the centre kept, as `data.reading.Whole` does it;
    `mean` and `std` are those of intensities in 0..1. An image of the right size stays as it is,
    to the bit.
    """

    one: Tensor
    place: Tensor
    powers: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.size = size
        deviation = torch.tensor(std) * WHITE
        shift = -torch.tensor(mean) * WHITE / deviation
        self.register_buffer("one", torch.ones(1, dtype=torch.int64))
        self.register_buffer("place", 2 * torch.arange(size) + 1)
        self.register_buffer("powers", 2 ** torch.arange(1, MOST_BITS + 1))
        self.register_buffer("scale", (1 / deviation).view(1, -1, 1, 1))
        self.register_buffer("shift", shift.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """As said above; along the width first, as torch does it."""
        height, width = images.shape[-2:]
        short = _smaller(height, width)
        values = images.float()
        values = _rounded(values @ self.weights(width, short).T)
        values = _rounded(self.weights(height, short) @ values)
        return values * self.scale + self.shift

    def weights(self, length: int, short: int) -> Tensor:
        """What each of `length` pixels counts in each of `size`: float32 (size, length).

        All of it is in integers: in units of half a resized pixel over the whole length, pixel j
        stands at (2j + 1)·resized, and the middle of resized pixel i at (2i + 1)·length.
        """
        resized = self.size * length // short
        gap = resized - self.size
        half = gap // 2
        first = half + (gap - 2 * half) * (half - 2 * (half // 2))  # round(gap / 2), as Python does
        reach = 2 * larger(length, resized)
        middles = (self.place + 2 * first) * length
        pixels = self._odd(length) * resized
        near = (reach - (middles[:, None] - pixels[None]).abs()).clamp(min=0)
        total = near.sum(1, keepdim=True)
        largest = _largest(self._odd(resized) * length, length, resized, reach)
        bits = ((largest * self.powers + 0.5).floor() < WEIGHT).sum()
        one = 2**bits
        return ((2 * near * one + total) // (2 * total)).float() / one.float()

    def _odd(self, count: int) -> Tensor:
        """The first `count` odd numbers, where the buffers are."""
        return 2 * self.one.expand(count).cumsum(0) - 1


def _largest(middles: Tensor, length: int, resized: int, reach: int) -> Tensor:
    """The largest weight of all resized pixels, those that the crop leaves out included.

    It says how many bits weights have. A row's weights are two arithmetic series, left of the
    middle and right of it, so that their sum needs no matrix.
    """
    start = _up_to(middles - reach, length, resized)
    split = _up_to(middles, length, resized)
    stop = _up_to(middles + reach, length, resized)
    left = (split - start) * (reach - middles) + resized * (split * split - start * start)
    right = (stop - split) * (reach + middles) - resized * (stop * stop - split * split)
    before = torch.where(split > 0, reach - middles + (2 * split - 1) * resized, 0)
    after = torch.where(split < length, reach + middles - (2 * split + 1) * resized, 0)
    return (torch.maximum(before, after).float() / (left + right).float()).max()


def _up_to(place: Tensor, length: int, resized: int) -> Tensor:
    """How many pixels stand left of `place`, or at it."""
    return ((place.clamp(min=0) // resized + 1) // 2).clamp(max=length)


def _rounded(values: Tensor) -> Tensor:
    """To the nearest byte; no value is below 0, so that cutting off is rounding down."""
    return (values + 0.5).clamp(0, WHITE).int().float()


def _smaller(one: int, other: int) -> int:
    """Of two sides that are numbers, torch.export's symbols, or what torch.jit.trace follows."""
    if isinstance(one, Tensor):
        return torch.minimum(one, other)  # pyright: ignore[reportArgumentType, reportReturnType] - in a trace both are tensors
    return torch.sym_min(one, other)  # pyright: ignore[reportReturnType] - of torch.export, a symbol


def larger(one: int, other: int) -> int:
    """Of a side and another number, as `_smaller`; the other may be a plain number in a trace."""
    if isinstance(one, Tensor):
        return torch.maximum(one, other) if isinstance(other, Tensor) else one.clamp(min=other)  # pyright: ignore[reportReturnType] - as above
    return torch.sym_max(one, other)  # pyright: ignore[reportReturnType] - as above
