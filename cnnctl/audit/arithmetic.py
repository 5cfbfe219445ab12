"""The arithmetic of convolutions and pools in whole numbers and fractions, without torch.

Along one axis: N pixels, kernel K, stride S, padding P on either side, dilation D. The formulas
are derived in Dumoulin and Visin 2016, A guide to convolution arithmetic for deep learning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

Pair = tuple[int, int]  # height, width
Exact = int | Fraction  # a whole number is an int


def extent(kernel: int, dilation: int = 1) -> int:
    """D(K − 1) + 1: the pixels from the first to the last that a kernel touches."""
    return dilation * (kernel - 1) + 1


def conv_out(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Exact:
    """(N + 2P − D(K − 1) − 1)/S + 1: the output of a convolution or pool, not rounded.

    A Fraction where the kernel does not fit: torch rounds down. Below 1 nothing is left.
    """
    return _whole(Fraction(size + 2 * padding - extent(kernel, dilation), stride) + 1)


def transposed_out(  # noqa: PLR0913 - the numbers of the layer
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> int:
    """(N − 1)S − 2P + D(K − 1) + output_padding + 1: the output of a transposed convolution."""
    return (size - 1) * stride - 2 * padding + extent(kernel, dilation) + output_padding


def same_padding(kernel: int, dilation: int = 1) -> Exact:
    """D(K − 1)/2: the padding that keeps every size at stride 1; a Fraction is no padding."""
    return _whole(Fraction(extent(kernel, dilation) - 1, 2))


def full_padding(kernel: int, dilation: int = 1) -> int:
    """D(K − 1): the most padding with which the kernel still touches a pixel everywhere."""
    return extent(kernel, dilation) - 1


def conv_params(
    c_in: int, c_out: int, kernel: int | Pair, *, bias: bool = False, groups: int = 1
) -> int:
    """Weights of a convolution, transposed or not, and with `bias` one more for each output map.

    Raises ValueError unless `groups` divides both numbers of channels.
    """
    if c_in % groups or c_out % groups:
        raise ValueError(f"groups must divide {c_in} and {c_out} channels, got {groups}")
    return math.prod(_pair(kernel)) * (c_in // groups) * c_out + bias * c_out


def conv_macs(size: int | Pair, c_in: int, c_out: int, kernel: int | Pair, groups: int = 1) -> int:
    """Multiply-adds on one image; biases are additions only and do not count.

    `size` is the output's; of a transposed convolution the input's, since there each value of
    the input meets every weight of its group once. Raises ValueError as `conv_params`.
    """
    return math.prod(_pair(size)) * conv_params(c_in, c_out, kernel, groups=groups)


def grow(field: int, jump: int, kernel: int, stride: int, dilation: int = 1) -> Pair:
    """Receptive field and jump behind one more layer: r + D(K − 1)·jump and jump·S.

    The jump is the distance, in pixels of the image, between neighbours of a map.
    """
    return field + dilation * (kernel - 1) * jump, jump * stride


def receptive_field(layers: Iterable[Sequence[int]]) -> int:
    """Pixels of the image behind one output of a chain of (kernel, stride[, dilation])."""
    field = jump = 1
    for layer in layers:
        field, jump = grow(field, jump, *layer)
    return field


def transposed_field(kernel: int, stride: int, dilation: int = 1) -> int:
    """The most input pixels, first to last, behind one output of a transposed convolution.

    Weights a and b reach the same output where D(b − a) is a multiple of S.
    """
    apart = stride // math.gcd(stride, dilation)
    return 1 + dilation * ((kernel - 1) // apart * apart) // stride


class Axis(NamedTuple):
    """What a layer does along height or width: the first five arguments of both `_out`."""

    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


def fitting_paddings(axis: Axis, most: int) -> list[int]:
    """The next smaller and larger paddings, up to `most`, with a whole output.

    As the two below, for an axis of which something is left.
    """
    stride, padding = axis.stride, axis.padding  # farther away than a stride they repeat
    return _nearest(axis, "padding", max(0, padding - stride), min(most, padding + stride))


def fitting_strides(axis: Axis) -> list[int]:
    """The next smaller and larger strides with a whole output, if it has two pixels or more."""
    room = axis.size + 2 * axis.padding - extent(axis.kernel, axis.dilation)
    return _nearest(axis, "stride", 1, room)


def fitting_sizes(axis: Axis) -> list[int]:
    """The next smaller and larger inputs with a whole output."""
    return _nearest(axis, "size", max(1, axis.size - axis.stride), axis.size + axis.stride)


def _nearest(axis: Axis, name: str, least: int, most: int) -> list[int]:
    """The next values of `name` below and above, between the limits, that leave no remainder."""

    def fits(value: int) -> bool:
        size, kernel, stride, padding, dilation = axis._replace(**{name: value})
        room = size + 2 * padding - extent(kernel, dilation)  # Fractions would take seconds
        return room >= 0 and room % stride == 0

    given: int = getattr(axis, name)
    ways = range(given - 1, least - 1, -1), range(given + 1, most + 1)
    return [value for way in ways for value in islice(filter(fits, way), 1)]


def _whole(value: Fraction) -> Exact:
    return int(value) if value.denominator == 1 else value


def _pair(value: int | Pair) -> Pair:
    return value if isinstance(value, tuple) else (value, value)
