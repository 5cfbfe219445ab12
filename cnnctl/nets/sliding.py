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
    """A tensor of the same shape and type, its axes in the same order in memory."""
    strides = list(value.stride())
    if not value.is_contiguous() and not value.is_contiguous(memory_format=torch.channels_last):
        order = range(value.dim() - 1, -1, -1)
        if 0 not in strides:  # an expanded axis has no place of its own: row by row then
            order = sorted(order, key=strides.__getitem__)
        step = 1
        for axis in order:
            strides[axis] = step
            step *= max(value.shape[axis], 1)
    return torch.empty_strided(value.shape, strides, dtype=value.dtype, device="meta")


def shaped(value: Tensor, shape: Sides) -> Tensor:
    """A new tensor of the type of `value`, in channels_last if that is."""
    kind = torch.channels_last if _channels_last(value) else torch.contiguous_format
    return torch.empty(shape, dtype=value.dtype, device="meta", memory_format=kind)


def _channels_last(value: Tensor) -> bool:
    """Whether torch takes images for channels_last: a part of such images is, too."""
    if value.dim() != IMAGES or value.numel() == 0:
        return False
    _, channels, high, wide = value.shape
    image, channel, row, column = value.stride()
    inside = channel * channels <= column and column * wide <= row and row * high <= image
    return inside and channel not in {0, row * high}


def convolution(
    image: Tensor, weight: Tensor, bias: Any, stride: Sides, padding: Sides, dilation: Sides,
    transposed: bool, _more: Any, groups: int,
) -> Tensor | None:  # fmt: skip
    """(B, c_in, H, W) -> (B, c_out, H', W'); None for what does not fit."""
    images = image.dim() == weight.dim() == IMAGES and image.dtype == weight.dtype
    if not images or min(stride) < 1 or min(padding) < 0:
        return None
    if transposed:
        return _spread(image, weight, bias, (stride, padding, dilation, _more), groups)
    c_out, c_in = weight.shape[0], weight.shape[1] * groups
    if image.shape[1] != c_in or c_out % groups or (bias is not None and bias.shape != (c_out,)):
        return None
    sides = [
        (size + 2 * along(padding, i) - along(dilation, i) * (kernel - 1) - 1) // along(stride, i)
        + 1
        for i, (size, kernel) in enumerate(zip(image.shape[2:], weight.shape[2:], strict=True))
    ]
    return _made(image, c_out, sides)


def _spread(
    image: Tensor, weight: Tensor, bias: Any, window: tuple[Sides, Sides, Sides, Sides], groups: int
) -> Tensor | None:
    """The same transposed: (N − 1)S − 2P + D(K − 1) + output_padding + 1 pixels of N."""
    stride, padding, dilation, more = window
    c_in, c_out = weight.shape[0], weight.shape[1] * groups
    if image.shape[1] != c_in or c_in % groups or (bias is not None and bias.shape != (c_out,)):
        return None
    sides = []
    for i, (size, kernel) in enumerate(zip(image.shape[2:], weight.shape[2:], strict=True)):
        s, p, d, o = (along(value, i) for value in (stride, padding, dilation, more))
        if not 0 <= o < max(s, d):
            return None
        sides.append((size - 1) * s - 2 * p + d * (kernel - 1) + o + 1)
    return _made(image, c_out, sides)


def convolution_backward(
    gradient: Tensor, image: Tensor, weight: Tensor, bias: Any, *rest: Any
) -> tuple[Tensor | None, ...]:
    """The gradients of image, weight and bias, as far as the last argument asks for them."""
    wanted = rest[-1]
    return (
        shaped(image, image.shape) if wanted[0] else None,
        shaped(image, weight.shape) if wanted[1] else None,
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
    ceil: bool = False, _padded: bool = True, divisor: int | None = None,
) -> Tensor | None:  # fmt: skip
    """Means, of two or three axes."""
    if divisor == 0:
        return None
    return _pooled(image, kernel, stride, padding, (1,), ceil=ceil)


def pad(image: Tensor, padding: Sides, *_: Any) -> Tensor | None:
    """More, or less, on both sides, the last axis first."""
    if len(padding) % 2 or len(padding) > 2 * image.dim():
        return None
    sides = list(image.shape)
    for place, (before, after) in enumerate(zip(padding[::2], padding[1::2], strict=True)):
        if sides[-1 - place] + min(before, 0) + min(after, 0) < 0:  # torch crops first
            return None
        sides[-1 - place] += before + after
    return shaped(image, sides) if min(sides) > 0 else None


def _pooled(
    image: Tensor, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides, *, ceil: bool
) -> Tensor | None:
    if image.dim() != 2 + len(kernel) or 0 in (*image.shape[1:], *stride):
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
    return shaped(image, (image.shape[0], channels, *sides)) if min(sides) > 0 else None
