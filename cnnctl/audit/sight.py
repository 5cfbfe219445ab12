"""What the result of an operation sees, from what its arguments see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from cnnctl.audit import axis, places
from cnnctl.audit.axis import Axis
from cnnctl.audit.places import WHOLE, Field, Given
from cnnctl.nets.sliding import along

aten: Any = torch.ops.aten
SPATIAL = 2  # dimensions that stand before those of the image: (B, C, H, W)


def seen(func: Any, given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    """What `out` sees, one result of an operation; None where that is not known."""
    rule = RULES.get(func)
    if rule is None:
        rule = joined if torch.Tag.pointwise in func.tags else _unknown
    if rule not in FOLDED and any(field.folds for _, field in given):
        rule = _unknown
    return rule(given, args, out)


@cache
def fresh(func: Any) -> bool:
    """Whether an operation takes only the shape and type of its arguments."""
    name = func.__name__.partition(".")[0]
    return name.endswith("_like") or name.startswith("new_")


def joined(given: Given, _: Sequence[Any], out: Tensor) -> Field | None:
    """Values at the same place together: sums, gates, concatenated channels, activations."""
    local = [(value, field) for value, field in given if field.axes is not None]
    if not local:
        return given[0][1]
    one = local[0][1]
    axes: list[Axis] = list(one.axes or ())
    for value, field in local:
        sizes = [value.shape[dim] for dim in field.dims]
        same = value.dim() == out.dim() and sizes == [out.shape[dim] for dim in field.dims]
        folded = field.folds and value.shape != out.shape
        if not same or folded or (field.dims, field.folds) != (one.dims, one.folds):
            return None
        pairs = zip(axes, field.axes or (), strict=True)
        both = [joint for first, second in pairs if (joint := first.joined(second)) is not None]
        if len(both) != len(axes):
            return None
        axes = both
    return one._replace(axes=tuple(axes), everything=any(f.everything for _, f in given))


def _unknown(given: Given, _: Sequence[Any], __: Tensor) -> Field | None:
    """Whatever is done to values that see the whole image only: they see no more."""
    return WHOLE if all(field.axes is None for _, field in given) else None


def _convolution(given: Given, args: Sequence[Any], _: Tensor) -> Field | None:
    weight, stride, padding, dilation, transposed = args[1], *args[3:7]
    move = axis.spread if transposed else axis.slide

    def change(dim: int, one: Axis) -> Axis | None:
        i = dim - SPATIAL
        if i < 0:  # batches stay apart, channels are mixed
            return one if dim == 0 else None
        window = along(stride, i), along(padding, i), along(dilation, i)
        return move(one, weight.shape[dim], *window)

    (image, field), *others = given
    if image is not args[0] or any(other.axes is not None for _, other in others):
        return None
    found = field.along(change)
    return found._replace(everything=True) if found is not None and others else found


def _pool(given: Given, args: Sequence[Any], _: Tensor, dilation: Sequence[int] = (1,)) -> Any:
    value, field = given[0]
    kernel, stride, padding = [*args[1:4], *((), (0,))[len(args) - 2 :]][:3]
    first = value.dim() - len(kernel) if len(kernel) > 1 else SPATIAL

    def change(dim: int, one: Axis) -> Axis:
        i = dim - first
        if i < 0:
            return one
        window = (along(stride or kernel, i), along(padding, i), along(dilation, i))
        return axis.slide(one, along(kernel, i), *window)

    return field.along(change)


def _max_pool(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    return _pool(given, args, out, args[4] if len(args) > 4 else (1,))  # noqa: PLR2004 - its place


def _adaptive(given: Given, _: Sequence[Any], out: Tensor) -> Field | None:
    value, field = given[0]
    if field.dims and all(out.shape[dim] == 1 < value.shape[dim] for dim in field.dims):
        return WHOLE
    return field.along(lambda dim, one: axis.share(one, value.shape[dim], out.shape[dim]))


def _reduced(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    """A mean, sum or maximum over some dimensions: over the image it sees everything."""
    value, field = given[0]
    dims = args[1] if len(args) > 1 and args[1] else range(value.dim())
    gone = {dim % value.dim() for dim in dims}
    if field.folds:
        return WHOLE if all(places.inside(value, field.folds, gone)) else None
    if gone.isdisjoint(field.dims):
        kept = out.dim() == value.dim()
        return field if kept else field._replace(dims=places.without(field.dims, gone))
    if all(value.shape[dim] == 1 for dim in field.dims):
        return field._replace(dims=())
    return WHOLE if gone >= set(field.dims) else None


def _product(given: Given, args: Sequence[Any], _: Tensor) -> Field | None:
    """A matrix product mixes the columns of its left side; its rows stay apart."""
    local = [(value, field) for value, field in given if field.axes is not None]
    if not local:
        return WHOLE
    (value, field), *others = local
    everything = any(one.everything for _, one in given)
    if not field.dims and not field.folds:  # every value sees the same
        same = all(one.axes == field.axes and not one.dims + one.folds for _, one in others)
        return field._replace(everything=everything) if same else None
    if others or value is not args[0]:
        return None
    rows = set(range(value.dim() - 1))
    inside = [*places.inside(value, field.folds, rows), *(dim in rows for dim in field.dims)]
    if all(inside):
        return field._replace(everything=everything)
    return None if any(inside) else WHOLE


def _added(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    """A matrix product on top of a bias, the first argument."""
    return _product(given, args[1:], out)


def _normed(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    """Statistics of the last dimensions: of the channels, or of the whole image, too."""
    field = joined(given, args, out)
    if field is None or field.axes is None:
        return field
    inside = [dim >= out.dim() - len(args[1]) for dim in field.dims]
    if any(inside) and not all(inside):
        return None
    return field._replace(everything=field.everything or any(inside))


def _group_norm(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    field = joined(given, args, out)
    return None if field is None else field._replace(everything=True)


def _batch_norm(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    return (_group_norm if args[5] else joined)(given, args, out)


def _softmax(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    field = given[0][1]
    if not field.dims:
        return None if field.folds else field
    mixed = args[1] % out.dim() in field.dims
    return None if mixed else joined(given, args, out)


def _resized(given: Given, scales: Sequence[float | None], out: Tensor, near: int) -> Any:
    """Lost where the scale that was asked for is not that of the sizes."""
    value, field = given[0]
    sizes = zip(value.shape[SPATIAL:], out.shape[SPATIAL:], scales, strict=False)
    if any(scale is not None and size * scale != new for size, new, scale in sizes):
        return None
    return field.along(
        lambda dim, one: axis.resize(one, value.shape[dim], out.shape[dim], near=near)
    )


def _nearest(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    return _resized(given, args[2:4], out, 1)


def _bilinear(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    """Aligned corners stretch the image by another factor everywhere: lost."""
    return None if args[2] else _resized(given, args[3:5], out, 2)


def _bicubic(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    return None if args[2] else _resized(given, args[3:5], out, 4)


def _unpooled(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    """A place gets the value of its window, if its own was the largest: it sees both maps.

    The places come from the pool's window. Windows lie side by side, as unpooling needs them to;
    at the edge the last one may be cut off.
    """
    sides = zip(out.shape[SPATIAL:], args[0].shape[SPATIAL:], strict=True)
    factors = [round(new / size) for new, size in sides]
    field = joined(given, args, args[0])
    if field is None or min(factors) < 1:
        return None
    found = dict(enumerate(factors, SPATIAL))
    return field.along(
        lambda dim, one: axis.spread(one, found[dim], found[dim], 0) if dim in found else one
    )


_EVEN = (aten._adaptive_avg_pool2d.default, aten.adaptive_max_pool2d.default)  # noqa: SLF001 - its name
_REDUCED = (
    aten.mean.dim, aten.sum.dim_IntList, aten.amax.default, aten.mean.default, aten.sum.default,
)  # fmt: skip
_JOINED = (  # besides those that torch calls pointwise
    aten.cat.default, aten.channel_shuffle.default, aten.hardswish.default,
    aten.hardswish_.default, aten._prelu_kernel.default, aten.alias.default, aten.detach.default,  # noqa: SLF001 - its name
    aten._to_copy.default, aten.native_dropout.default,  # noqa: SLF001 - as above
)  # fmt: skip
FOLDED = (joined, _product, _added, _reduced, places.viewed)  # these know what a view hides
RULES: dict[Any, Callable[[Given, Sequence[Any], Tensor], Field | None]] = {
    **places.RULES,
    **dict.fromkeys(_JOINED, joined),
    aten.convolution.default: _convolution,
    aten.max_pool2d_with_indices.default: _max_pool,
    **dict.fromkeys((aten.avg_pool2d.default, aten.avg_pool3d.default), _pool),
    **dict.fromkeys(_EVEN, _adaptive),
    **dict.fromkeys(_REDUCED, _reduced),
    **dict.fromkeys((aten.mm.default, aten.bmm.default), _product),
    **dict.fromkeys((aten.addmm.default, aten.baddbmm.default), _added),
    aten.native_layer_norm.default: _normed,
    aten.native_group_norm.default: _group_norm,
    aten.native_batch_norm.default: _batch_norm,
    aten._softmax.default: _softmax,  # noqa: SLF001 - its name
    aten.upsample_nearest2d.default: _nearest,
    aten.upsample_bilinear2d.default: _bilinear,
    aten.upsample_bicubic2d.default: _bicubic,
    aten.max_unpool2d.default: _unpooled,
}
