"""What kind of layer an operation makes, and the numbers of its window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cnnctl.nets.sliding import along

aten: Any = torch.ops.aten

CONV, DENSE, POOL, NORM, RESIZE, JOIN, SILENT = (
    "conv", "dense", "pool", "norm", "resize", "join", "silent",
)  # fmt: skip
RANK = {kind: rank for rank, kind in enumerate((SILENT, JOIN, RESIZE, NORM, POOL, DENSE, CONV))}

NORMS = (
    nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm,  # noqa: SLF001 - of every dimension
)  # fmt: skip


class Form(NamedTuple):
    """The window of a convolution or pool, (height, width)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False


def kind_of(module: nn.Module) -> str:
    """The kind that a module's class alone decides: its operations must not."""
    return NORM if isinstance(module, NORMS) else SILENT


def read(func: Any, args: Sequence[Any]) -> tuple[str, Form | None]:
    """The kind of layer that an operation makes, and its window if it has one."""
    kind = KINDS.get(func, SILENT)
    if func is aten.convolution.default:
        axes = args[1].dim() - 2
        stride, padding, dilation = (_full(value, axes) for value in args[3:6])
        return kind, Form(
            tuple(args[1].shape[2:]), stride, padding, dilation, args[8], bool(args[6])
        )
    if func in WINDOWS:
        axes = 2
        kernel, stride, padding = [*args[1:4], *((), (0,))[len(args) - 2 :]][:3]
        widened = func is aten.max_pool2d_with_indices.default
        dilation = [*args[4:5], (1,)][0] if widened else (1,)
        return kind, Form(
            _full(kernel, axes),
            _full(stride or kernel, axes),
            _full(padding, axes),
            _full(dilation, axes),
        )
    if kind == JOIN and not isinstance(args[0], (list, tuple)):
        both = len(args) > 1 and isinstance(args[1], Tensor) and args[1].dim() > 0
        return (JOIN if both else SILENT), None
    return kind, None


def tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments or results, those in lists too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors(value)


def shares(result: Tensor, given: Sequence[Tensor]) -> bool:
    """Whether a result is a view of an argument, or that argument itself."""
    storage = result.untyped_storage()
    return any(value.untyped_storage() is storage for value in given)


def in_place(func: Any) -> bool:
    """Whether an operation writes into its first argument."""
    return func.__name__.partition(".")[0].endswith("_")


def _full(value: Sequence[int], axes: int) -> tuple[int, ...]:
    return tuple(along(value, axis) for axis in range(axes))


WINDOWS = (aten.max_pool2d_with_indices.default, aten.avg_pool2d.default)
KINDS: dict[Any, str] = {
    aten.convolution.default: CONV,
    **dict.fromkeys(
        (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default,
         aten.mv.default, aten.addmv.default), DENSE
    ),
    **dict.fromkeys(
        (*WINDOWS, aten._adaptive_avg_pool2d.default, aten.adaptive_max_pool2d.default,  # noqa: SLF001 - its name
         aten.mean.dim, aten.amax.default), POOL
    ),
    **dict.fromkeys(
        (aten.native_batch_norm.default, aten.native_layer_norm.default,
         aten.native_group_norm.default), NORM
    ),
    **dict.fromkeys(
        (aten.upsample_nearest2d.default, aten.upsample_bilinear2d.default,
         aten.upsample_bicubic2d.default, aten.max_unpool2d.default, aten.pixel_shuffle.default),
        RESIZE,
    ),
    **dict.fromkeys(
        (aten.cat.default, aten.add.Tensor, aten.add_.Tensor, aten.mul.Tensor, aten.mul_.Tensor,
         aten.sub.Tensor), JOIN
    ),
}  # fmt: skip
