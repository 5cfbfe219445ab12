"""Ways up: from maps to maps of twice their size, by the names that stand in the YAML files.

Dumoulin, Visin 2016, A guide to convolution arithmetic for deep learning, chapter 4, for transposed
convolutions; Noh, Hong, Han 2015, Learning deconvolution network, section 3.2.1, for unpooling.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import max_unpool2d

Upsample = Literal["nearest", "bilinear", "bicubic", "transposed", "unpool"]
TWICE = 2


class Unpool(nn.Module):
    """Every value goes back to the place in its 2x2 window that it came from; the others are 0."""

    def forward(self, value: Tensor, places: Tensor) -> Tensor:
        """(B, C, H, W), and the indices (B, C, H, W) of a max pool -> (B, C, 2H, 2W)."""
        height, width = value.shape[-2:]
        size = [TWICE * height, TWICE * width]
        return max_unpool2d(value, places, [TWICE, TWICE], output_size=size)


class Unpooled(nn.Sequential):
    """A 1x1 convolution to as many channels as were pooled, then `Unpool`."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(OrderedDict(conv=nn.Conv2d(c_in, c_out, 1), up=Unpool()))

    def forward(self, value: Tensor, places: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - as `Unpool`
        """(B, c_in, H, W), and indices (B, c_out, H, W) -> (B, c_out, 2H, 2W)."""
        return self[1](self[0](value), places)


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
    corners = None if kind == "nearest" else False
    resize = nn.Upsample(scale_factor=TWICE, mode=kind, align_corners=corners)
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(c_in, c_out, 1), up=resize))
