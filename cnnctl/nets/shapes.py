"""The shapes that operations give: what torch's own Python rules say, in a tenth of their time.

Each rule takes the arguments of an operation and gives its result on the meta device, or None
where it is not sure: torch decides then, and words the error if there is one. A result is laid
out as its input where that has no gaps, otherwise row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnctl.nets import sliding

aten: Any = torch.ops.aten
Rule = Callable[..., Any]
MATRIX = 2  # axes


def like(value: Tensor, *_: Any) -> Tensor:
    """A tensor of the same shape and type."""
    return sliding.like(value)


def _itself(value: Tensor, *_: Any) -> Tensor:
    return value


def _second(_: Tensor, value: Tensor, *__: Any) -> Tensor:
    return like(value)


def _new(value: Tensor, **options: Any) -> Tensor | None:
    """ones_like and the like, when they change neither type nor place."""
    changes = {name for name, option in options.items() if option is not None}
    return like(value) if changes <= {"pin_memory", "memory_format"} else None


def _real(value: Tensor, *_: Any) -> Tensor | None:
    return like(value) if value.is_floating_point() else None


def _two(left: Tensor, right: Any, *_: Any) -> Tensor | None:
    """Two tensors of one type, or a tensor and a number that does not change its type.

    Of two shapes one covers the other, as a gate of (B, C, 1, 1) on (B, C, H, W).
    """
    if not left.is_floating_point() or isinstance(right, complex):
        return None
    if not isinstance(right, Tensor) or right.dim() == 0:
        return like(left)
    if right.dtype != left.dtype or not right.is_meta:
        return None
    return like(left) if _covers(left, right) else like(right) if _covers(right, left) else None


def _covers(whole: Tensor, part: Tensor) -> bool:
    """Whether `part`, repeated along some axes, gets the shape of `whole`."""
    if part.dim() > whole.dim():
        return False
    ends = zip(reversed(whole.shape), reversed(part.shape), strict=False)
    return all(size in {1, side} for side, size in ends)


def _batch_norm(
    image: Tensor, weight: Any, _bias: Any, _mean: Any, _var: Any, training: bool, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    source = image if weight is None else weight
    size = image.shape[1] if training else 0  # nothing is saved elsewhere: so do the CPU's kernels
    return like(image), source.new_empty(size), source.new_empty(size)


def _batch_norm_backward(
    _gradient: Tensor, image: Tensor, weight: Any, *rest: Any
) -> tuple[Tensor | None, ...]:
    wanted, source = rest[-1], image if weight is None else weight
    return (
        like(image) if wanted[0] else None,
        source.new_empty(image.shape[1]) if wanted[1] else None,
        source.new_empty(image.shape[1]) if wanted[2] else None,
    )


def _mm(left: Tensor, right: Tensor) -> Tensor | None:
    return left.new_empty((left.shape[0], right.shape[1])) if _meet(left, right) else None


def _addmm(bias: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    fits = _meet(left, right) and bias.shape[-1] in {1, right.shape[1]}
    return left.new_empty((left.shape[0], right.shape[1])) if fits else None


def _meet(left: Tensor, right: Tensor) -> bool:
    return left.dim() == right.dim() == MATRIX and left.shape[1] == right.shape[0]


def _reduce(value: Tensor, dims: Sequence[int] | None, keep: bool = False) -> Tensor:
    gone = {dim % value.dim() for dim in dims} if dims else set(range(value.dim()))
    if keep:
        return value.new_empty([1 if i in gone else n for i, n in enumerate(value.shape)])
    return value.new_empty([n for i, n in enumerate(value.shape) if i not in gone])


def _cat(parts: list[Tensor], dim: int = 0) -> Tensor | None:
    first, dim = parts[0], dim % max(parts[0].dim(), 1)
    others = [(*part.shape[:dim], *part.shape[dim + 1 :], part.dtype) for part in parts]
    if any(other != others[0] for other in others):
        return None
    shape = [*first.shape]
    shape[dim] = sum(part.shape[dim] for part in parts)
    return first.new_empty(shape)


def _nll_loss(scores: Tensor, _labels: Tensor, _weight: Any, reduction: int, *_: Any) -> Any:
    return (scores.new_empty(()), scores.new_empty(())) if reduction else None


_FILL = (
    aten.uniform_.default, aten.normal_.default, aten.zero_.default, aten.fill_.Scalar,
    aten.bernoulli_.float, aten.erfinv_.default, aten.clamp_.default, aten.add_.Tensor,
    aten.mul_.Tensor, aten.div_.Scalar,
)  # fmt: skip
_LIKE = (
    aten.relu.default, aten.hardtanh.default, aten.sigmoid.default, aten.tanh.default,
    aten.silu.default, aten.gelu.default, aten.elu.default, aten.leaky_relu.default,
    aten.neg.default, aten.channel_shuffle.default,
    aten._log_softmax.default, aten._softmax.default,  # noqa: SLF001 - operations have such names
    aten.threshold_backward.default, aten.hardtanh_backward.default, aten.sigmoid_backward.default,
    aten.tanh_backward.default, aten.silu_backward.default, aten.gelu_backward.default,
    aten.leaky_relu_backward.default,
    aten._log_softmax_backward_data.default,  # noqa: SLF001 - as above
)  # fmt: skip
_TWO = (
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor,
    aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.div.Scalar,
)  # fmt: skip
_SECOND = (
    aten.nll_loss_backward.default, aten.max_pool2d_with_indices_backward.default,
    aten.avg_pool2d_backward.default, aten.avg_pool3d_backward.default,
)  # fmt: skip
LIKES = (aten.ones_like.default, aten.zeros_like.default, aten.empty_like.default)

RULES: dict[Any, Rule] = {
    **dict.fromkeys(_FILL, _itself), **dict.fromkeys(_LIKE, like), **dict.fromkeys(_TWO, _two),
    **dict.fromkeys(_SECOND, _second), **dict.fromkeys(LIKES, _new),
    aten.pow.Tensor_Scalar: _real,
    aten.convolution.default: sliding.convolution,
    aten.convolution_backward.default: sliding.convolution_backward,
    aten.max_pool2d_with_indices.default: sliding.max_pool,
    aten.avg_pool2d.default: sliding.avg_pool, aten.avg_pool3d.default: sliding.avg_pool,
    aten.constant_pad_nd.default: sliding.pad,
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.mm.default: _mm, aten.addmm.default: _addmm,
    aten.mean.dim: _reduce, aten.sum.dim_IntList: _reduce,
    aten.nll_loss_forward.default: _nll_loss, aten.cat.default: _cat,
}  # fmt: skip
