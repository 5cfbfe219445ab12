"""The shapes that convolutions and pools give on the meta device; see cnnctl.nets.shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

IMAGES = 4  # axes of a batch of images
Sides = Sequence[int]


def along(value: Sides, axis: int) -> int:
    """The number for one axis: [3] stands for all axes, as torch reads kernels and strides."""
    return value[axis] if len(value) > 1 else value[0]


def like(value: Tensor) -> Tensor:
    """A tensor of the same shape and type, laid out in the same way if that leaves no gaps."""
    if value.is_contiguous() or value.is_contiguous(memory_format=torch.channels_last):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return value.new_empty(value.shape)


def convolution(
    image: Tensor, weight: Tensor, _bias: Any, stride: Sides, padding: Sides, dilation: Sides,
    transposed: bool, _more: Any, groups: int,
) -> Tensor | None:  # fmt: skip
    """(B, c_in, H, W) -> (B, c_out, H', W'); None for a transposed one or what does not fit."""
    if transposed or image.dim() != IMAGES or image.shape[1] != weight.shape[1] * groups:
        return None
    sides = [
        (size + 2 * along(padding, i) - along(dilation, i) * (kernel - 1) - 1) // along(stride, i)
        + 1
        for i, (size, kernel) in enumerate(zip(image.shape[2:], weight.shape[2:], strict=True))
    ]
    return _made(image, weight.shape[0], sides)


def convolution_backward(
    gradient: Tensor, image: Tensor, weight: Tensor, bias: Any, *rest: Any
) -> tuple[Tensor | None, ...]:
    """The gradients of image, weight and bias, as far as the last argument asks for them."""
    wanted = rest[-1]
    return (
        like(image) if wanted[0] else None,
        like(weight) if wanted[1] else None,
        gradient.new_empty(bias) if wanted[2] else None,
    )


def max_pool(
    image: Tensor, kernel: Sides, stride: Sides = (), padding: Sides = (0,),
    dilation: Sides = (1,), ceil: bool = False,
) -> tuple[Tensor, Tensor] | None:  # fmt: skip
    """The largest values and where they stand."""
    out = _pooled(image, kernel, stride, padding, dilation, ceil=ceil)
    return None if out is None else (out, out.to(torch.int64))


def avg_pool(
    image: Tensor, kernel: Sides, stride: Sides = (), padding: Sides = (0,),
    ceil: bool = False, *_: Any,
) -> Tensor | None:  # fmt: skip
    """Means, of two or three axes."""
    return _pooled(image, kernel, stride, padding, (1,), ceil=ceil)


def pad(image: Tensor, padding: Sides, *_: Any) -> Tensor | None:
    """More, or less, on both sides, the last axis first."""
    sides = list(image.shape)
    for place, (before, after) in enumerate(zip(padding[::2], padding[1::2], strict=True)):
        sides[-1 - place] += before + after
    return image.new_empty(sides) if min(sides) > 0 else None


def _pooled(
    image: Tensor, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides, *, ceil: bool
) -> Tensor | None:
    if image.dim() < IMAGES:
        return None
    sides = []
    for axis, size in enumerate(image.shape[2:]):
        k, p, d = (along(value, axis) for value in (kernel, padding, dilation))
        s = along(stride or kernel, axis)
        if 2 * p > k:
            return None
        room = size + 2 * p - d * (k - 1) - 1
        side = (room + (s - 1 if ceil else 0)) // s + 1
        sides.append(side - (ceil and (side - 1) * s >= size + p))
    return _made(image, image.shape[1], sides)


def _made(image: Tensor, channels: int, sides: Sides) -> Tensor | None:
    """New maps in the memory format of the image; None if nothing is left of it."""
    if min(sides) < 1:
        return None
    out = image.new_empty((image.shape[0], channels, *sides))
    last = not image.is_contiguous() and image.is_contiguous(memory_format=torch.channels_last)
    return out.to(memory_format=torch.channels_last) if last else out
