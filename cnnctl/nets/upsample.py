"""Ways up: from maps to larger maps, by the names that stand in the YAML files.

Dumoulin, Visin 2016, A guide to convolution arithmetic for deep learning, chapter 4, for transposed
convolutions; Noh, Hong, Han 2015, Learning deconvolution network, section 3.2.1, for unpooling.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, max_unpool2d

Upsample = Literal["nearest", "bilinear", "bicubic", "transposed", "unpool"]
TWICE = 2


class Unpool(nn.Module):
    """Every value goes back to the place in its 2x2 window that it came from; the others are 0."""

    def forward(
        self, value: Tensor, places: Tensor, size: tuple[int, int] | None = None
    ) -> Tensor:  # fmt: skip
        """(B, C, H, W), and the indices (B, C, H, W) of a max pool -> (B, C, 2H, 2W).

        `size` (H', W') is what was pooled, if it was odd and the pool rounded up.
        """
        height, width = size or (TWICE * value.shape[2], TWICE * value.shape[3])
        return max_unpool2d(value, places, [TWICE, TWICE], output_size=[height, width])


class Unpooled(nn.Sequential):
    """A 1x1 convolution to as many channels as were pooled, then `Unpool`."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(OrderedDict(conv=nn.Conv2d(c_in, c_out, 1), up=Unpool()))

    def forward(self, value: Tensor, places: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - as `Unpool`
        """(B, c_in, H, W), and indices (B, c_out, H, W) -> (B, c_out, 2H, 2W)."""
        return self[1](self[0](value), places)


class Interpolation(nn.Module):
    """A transposed convolution that stays bilinear interpolation, each channel by itself.

    Kernel 2f, stride f, no padding: (B, C, H, W) -> (B, C, f (H + 1), f (W + 1)); beyond the maps
    there are zeros (Long, Shelhamer, Darrell 2015, section 3.3).
    """

    kernel: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("kernel", bilinear(factor), persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        """The same kernel for all channels."""
        channels = value.shape[1]
        weight = self.kernel.expand(channels, 1, -1, -1)
        return conv_transpose2d(value, weight, stride=self.factor, groups=channels)

    def extra_repr(self) -> str:
        """The factor."""
        return f"factor={self.factor}"


def bilinear(factor: int) -> Tensor:
    """The kernel (2f, 2f) of bilinear interpolation by `factor`; its sum is f²."""
    places = torch.arange(2 * factor, dtype=torch.float32)
    line = 1 - (places - (2 * factor - 1) / 2).abs() / factor
    return line.outer(line)


def up(kind: Upsample, c_in: int, c_out: int) -> nn.Module:
    """(B, c_in, H, W) -> (B, c_out, 2H, 2W); an `Unpooled` takes the indices of a pool, too.

    transposed: a 2x2 convolution with stride 2, which learns. The interpolations follow a 1x1
    convolution; so they are of fewer channels, and nearest and bilinear give what they would give
    before it.
    """
    if kind == "transposed":
        return nn.ConvTranspose2d(c_in, c_out, TWICE, TWICE)
    if kind == "unpool":
        return Unpooled(c_in, c_out)
    conv = nn.Conv2d(c_in, c_out, 1)
    return nn.Sequential(OrderedDict(conv=conv, up=resized(kind, TWICE)))


def resized(kind: Upsample, factor: int) -> nn.Upsample:
    """(B, C, H, W) -> (B, C, fH, fW) by an interpolation, which has nothing to learn."""
    corners = None if kind == "nearest" else False
    return nn.Upsample(scale_factor=factor, mode=kind, align_corners=corners)
