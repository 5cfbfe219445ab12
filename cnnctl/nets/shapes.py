"""The shapes that operations give: what torch's own Python rules say, in a tenth of their time.

Each rule takes the arguments of an operation and gives its result on the meta device, or None
where it is not sure: torch decides then, and words the error if there is one. The axes of a
result lie in memory in the order that a CPU gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnctl.nets import sliding, widening

aten: Any = torch.ops.aten
Rule = Callable[..., Any]
MATRIX = 2  # axes


def like(value: Tensor, *_: Any) -> Tensor:
    """A tensor of the same shape and type."""
    return sliding.like(value)


def _itself(value: Tensor, *_: Any) -> Tensor:
    return value


def _filled(value: Tensor, *_: Any) -> Tensor | None:
    return value if value.is_floating_point() else None


def _normal(value: Tensor, _mean: float = 0, deviation: float = 1) -> Tensor | None:
    return _filled(value) if deviation >= 0 else None


def _second(_: Tensor, value: Tensor, *__: Any) -> Tensor:
    return like(value)


def _new(value: Tensor, **options: Any) -> Tensor | None:
    """ones_like and the like, when they change neither type nor place nor layout."""
    changes = {name for name, option in options.items() if option is not None}
    kept = options.get("memory_format") in {None, torch.preserve_format}
    return like(value) if kept and changes <= {"pin_memory", "memory_format"} else None


def _real(value: Tensor, *_: Any) -> Tensor | None:
    return like(value) if value.is_floating_point() else None


def _softmax(value: Tensor, dim: int, _half: bool) -> Tensor | None:
    """Row by row, however the values lie: so does the kernel of a CPU."""
    fits = value.is_floating_point() and -value.dim() <= dim < value.dim() and not _half
    return value.new_empty(value.shape) if fits else None


def _shuffled(value: Tensor, groups: int) -> Tensor | None:
    fits = value.dim() > MATRIX and groups > 0 and value.shape[1] % groups == 0
    return sliding.shaped(value, value.shape) if fits else None


def _two(left: Tensor, right: Any, *_: Any) -> Tensor | None:
    """Two tensors of one type, or a tensor and a number that does not change its type.

    Of two shapes one covers the other, as a gate of (B, C, 1, 1) on (B, C, H, W).
    """
    if not left.is_floating_point() or isinstance(right, (bool, complex)):
        return None
    if not isinstance(right, Tensor):
        return like(left)
    if right.dtype != left.dtype or not right.is_meta:
        return None
    if _covers(left.shape, right.shape):
        return like(left)
    simple = left.is_contiguous() and right.is_contiguous()  # otherwise both shape the layout
    return like(right) if simple and _covers(right.shape, left.shape) else None


def _into(left: Tensor, right: Any, *_: Any) -> Tensor | None:
    """The same in place: the left one covers."""
    if not isinstance(right, Tensor):
        whole = left.dtype == torch.int64 and isinstance(right, int)
        real = left.is_floating_point() and not isinstance(right, complex)
        return left if whole or real else None
    fits = right.dtype == left.dtype and _covers(left.shape, right.shape)
    return left if fits and right.is_meta else None


def _covers(whole: Sequence[int], part: Sequence[int]) -> bool:
    """Whether a tensor of the shape `part`, repeated along some axes, gets that of `whole`."""
    if len(part) > len(whole):
        return False
    ends = zip(reversed(whole), reversed(part), strict=False)
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
    if not _meet(left, right) or bias.dtype != left.dtype:
        return None
    shape = (left.shape[0], right.shape[1])
    return left.new_empty(shape) if _covers(shape, bias.shape) else None


def _meet(left: Tensor, right: Tensor) -> bool:
    matrices = left.dim() == right.dim() == MATRIX and left.dtype == right.dtype
    return matrices and left.shape[1] == right.shape[0]


def _reduce(value: Tensor, dims: Sequence[int] | None, keep: bool = False) -> Tensor | None:
    places = dims or range(value.dim())
    gone = {dim % value.dim() for dim in places if -value.dim() <= dim < value.dim()}
    if not value.is_floating_point() or len(gone) != len(places):
        return None
    if keep:
        return value.new_empty([1 if i in gone else n for i, n in enumerate(value.shape)])
    return value.new_empty([n for i, n in enumerate(value.shape) if i not in gone])


def _cat(parts: list[Tensor], dim: int = 0) -> Tensor | None:
    first = parts[0]
    if not -first.dim() <= dim < first.dim():
        return None
    dim %= first.dim()
    others = {(part.dim(), part.shape[:dim], part.shape[dim + 1 :], part.dtype) for part in parts}
    if len(others) > 1:
        return None
    shape = [*first.shape]
    shape[dim] = sum(part.shape[dim] for part in parts)
    return sliding.shaped(first, shape)


def _nll_loss(scores: Tensor, labels: Tensor, _weight: Any, reduction: int, *_: Any) -> Any:
    fits = scores.dim() == MATRIX and labels.shape == scores.shape[:1]
    return (scores.new_empty(()), scores.new_empty(())) if fits and reduction else None


_FILLED = (
    aten.uniform_.default, aten.bernoulli_.float, aten.erfinv_.default, aten.clamp_.default,
    aten.div_.Scalar,
)  # fmt: skip
_REAL = (
    aten.relu.default, aten.hardtanh.default, aten.sigmoid.default, aten.tanh.default,
    aten.silu.default, aten.gelu.default, aten.elu.default, aten.leaky_relu.default,
    aten.neg.default, aten.hardtanh_backward.default, aten.sigmoid_backward.default,
    aten.tanh_backward.default, aten.silu_backward.default, aten.gelu_backward.default,
    aten._log_softmax_backward_data.default,  # noqa: SLF001 - operations have such names
)  # fmt: skip
_TWO = (
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor,
    aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.div.Scalar, aten.pow.Tensor_Scalar,
)  # fmt: skip
_SOFTMAX = (aten._softmax.default, aten._log_softmax.default)  # noqa: SLF001 - as above
_SECOND = (
    aten.threshold_backward.default, aten.leaky_relu_backward.default,
    aten.nll_loss_backward.default,
    aten.max_pool2d_with_indices_backward.default, aten.avg_pool2d_backward.default,
    aten.avg_pool3d_backward.default,
)  # fmt: skip
_RESIZED = (
    aten.upsample_nearest2d.default, aten.upsample_bilinear2d.default,
    aten.upsample_bicubic2d.default,
)  # fmt: skip
_RESIZED_BACKWARD = (
    aten.upsample_nearest2d_backward.default, aten.upsample_bilinear2d_backward.default,
)  # fmt: skip
LIKES = (aten.ones_like.default, aten.zeros_like.default, aten.empty_like.default)

RULES: dict[Any, Rule] = {
    **dict.fromkeys((aten.zero_.default, aten.fill_.Scalar), _itself),
    **dict.fromkeys(_FILLED, _filled), aten.normal_.default: _normal,
    **dict.fromkeys(_REAL, _real), **dict.fromkeys(_SOFTMAX, _softmax),
    aten.channel_shuffle.default: _shuffled,
    **dict.fromkeys(_TWO, _two), **dict.fromkeys((aten.add_.Tensor, aten.mul_.Tensor), _into),
    **dict.fromkeys(_SECOND, _second), **dict.fromkeys(LIKES, _new),
    aten.convolution.default: sliding.convolution,
    aten.convolution_backward.default: sliding.convolution_backward,
    aten.max_pool2d_with_indices.default: sliding.max_pool,
    aten.avg_pool2d.default: sliding.avg_pool, aten.avg_pool3d.default: sliding.avg_pool,
    aten.constant_pad_nd.default: sliding.pad,
    aten.reflection_pad2d.default: widening.reflect,
    aten.reflection_pad2d_backward.default: widening.reflect_backward,
    **dict.fromkeys(_RESIZED, widening.resize),
    **dict.fromkeys(_RESIZED_BACKWARD, widening.resize_backward),
    aten.upsample_bicubic2d_backward.default: widening.bicubic_backward,
    aten.max_unpool2d.default: widening.unpool,
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.mm.default: _mm, aten.addmm.default: _addmm,
    aten.mean.dim: _reduce, aten.sum.dim_IntList: _reduce,
    aten.nll_loss_forward.default: _nll_loss, aten.cat.default: _cat,
}  # fmt: skip
