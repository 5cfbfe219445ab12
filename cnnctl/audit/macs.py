"""Multiply-adds of an operation: convolutions and matrix products, forward and backward.

FLOPs are twice as many. Torch's own FlopCounterMode forgets the groups of a convolution in its
weight gradient and counts up to 20 times too much there (torch 2.15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

aten: Any = torch.ops.aten


def macs(func: Any, args: Sequence[Any], out: Any) -> int:
    """The multiply-adds of one operation; 0 for all that neither convolve nor multiply matrices."""
    rule = MACS.get(func)
    return 0 if rule is None else rule(args, out)


def _convolved(image: Tensor, weight: Tensor, out: Tensor, *, transposed: bool) -> int:
    """Each position of the output (transposed: of the input) costs one use of every weight."""
    positions = prod((image if transposed else out).shape[2:])
    return image.shape[0] * positions * weight.numel()


def _convolution(args: Sequence[Any], out: Tensor) -> int:
    return _convolved(args[0], args[1], out, transposed=args[6])


def _convolution_backward(args: Sequence[Any], _: Any) -> int:
    """The gradients of image and weight cost what the forward pass cost, each of them."""
    gradient, image, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
    return sum(wanted[:2]) * _convolved(image, weight, gradient, transposed=transposed)


def _product(left: Tensor, right: Tensor) -> int:
    return left.numel() * right.shape[-1]


def _attention(args: Sequence[Any], _: Any) -> int:
    """Scores q·k and their sum over v: (B, heads, L, E), (B, heads, S, E), (B, heads, S, Ev)."""
    query, key, value = args[:3]
    return query.numel() * key.shape[-2] + prod(query.shape[:-1]) * value.shape[-2:].numel()


def _attention_backward(args: Sequence[Any], out: Any) -> int:
    """Two gradients of each of the two products; the scores made again are not counted."""
    return 2 * _attention(args[1:4], out)


MACS: dict[Any, Callable[[Sequence[Any], Any], int]] = {
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: _convolution_backward,
    aten.mm.default: lambda args, _: _product(*args[:2]),
    aten.bmm.default: lambda args, _: _product(*args[:2]),
    aten.addmm.default: lambda args, _: _product(*args[1:3]),
    aten.addbmm.default: lambda args, _: _product(*args[1:3]),
    aten.baddbmm.default: lambda args, _: _product(*args[1:3]),
    aten.mv.default: lambda args, _: args[0].numel(),
    aten.dot.default: lambda args, _: args[0].numel(),
    aten.addmv.default: lambda args, _: args[1].numel(),
    aten._scaled_dot_product_flash_attention_for_cpu.default: _attention,  # noqa: SLF001 - its name
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default: _attention_backward,  # noqa: SLF001 - its name
}
