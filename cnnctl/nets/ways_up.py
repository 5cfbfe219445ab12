"""The five ways up on one image: what each makes of what a max pool has left of it.

Odena, Dumoulin, Olah 2016, Deconvolution and checkerboard artifacts (Distill), for the sixth: a
transposed convolution whose stride does not divide its kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv_transpose2d, interpolate, max_pool2d, max_unpool2d

from cnnctl.nets.upsample import Interpolation

FACTORS = (2, 4, 8)


class Ways(NamedTuple):
    """Float32 maps: `pooled` (C, H / by, W / by) and, by name, the ways up from it (C, H, W).

    nearest, bilinear, bicubic and transposed know the pooled map alone; transposed is the kernel of
    bilinear interpolation that FCN starts from, which sees zeros beyond the edge. uneven is a
    transposed convolution of equal weights whose kernel is one wider than its stride. unpool also
    knows where the maxima were.
    """

    pooled: Tensor
    up: dict[str, Tensor]


def ways(image: Tensor, by: int) -> Ways:
    """From an image (C, H, W) whose sides are multiples of `by`, one of FACTORS."""
    pooled, places = max_pool2d(image[None], by, return_indices=True)
    made = {
        "nearest": interpolate(pooled, scale_factor=by, mode="nearest"),
        "bilinear": interpolate(pooled, scale_factor=by, mode="bilinear", align_corners=False),
        "bicubic": interpolate(pooled, scale_factor=by, mode="bicubic", align_corners=False),
        "transposed": _middle(Interpolation(by)(pooled), by // 2),
        "uneven": uneven(pooled, by),
        "unpool": max_unpool2d(pooled, places, [by, by]),
    }
    return Ways(pooled[0], {name: one[0] for name, one in made.items()})


def uneven(value: Tensor, by: int) -> Tensor:
    """A transposed convolution of equal weights with kernel by + 1 and stride `by`.

    (B, C, H, W) -> (B, C, by H, by W). The weights keep the mean, but where kernels overlap their
    sum is twice, at corners four times as large.
    """
    channels, side = value.shape[1], by + 1
    weight = torch.full((channels, 1, side, side), by**2 / side**2)
    found = conv_transpose2d(value, weight, stride=by, groups=channels)
    return found[..., :-1, :-1]


def _middle(value: Tensor, edge: int) -> Tensor:
    """Without so many pixels at each edge."""
    return value[..., edge:-edge, edge:-edge]
