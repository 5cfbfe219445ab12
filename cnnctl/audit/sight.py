"""What the result of an operation sees, from what its arguments see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from cnnctl.audit import axis
from cnnctl.audit.axis import Axis
from cnnctl.nets.sliding import along

aten: Any = torch.ops.aten


class Field(NamedTuple):
    """What the values of a tensor see.

    `axes` is the local part, None if there is none; `dims` are the dimensions of the tensor
    that they belong to, none where every value sees the same; `everything` says whether the
    whole image is seen, too.
    """

    axes: tuple[Axis, ...] | None
    dims: tuple[int, ...]
    everything: bool = False

    def along(self, change: Callable[[int, int, Axis], Axis | None]) -> Field | None:
        """The field after change(place, dimension, axis) of every axis; None if one gets lost."""
        if self.axes is None:
            return self
        changed = [
            change(i, dim, one)
            for i, (dim, one) in enumerate(zip(self.dims, self.axes, strict=True))
        ]
        kept = tuple(one for one in changed if one is not None)
        return self._replace(axes=kept) if len(kept) == len(changed) else None


Given = list[tuple[Tensor, Field]]


def joined(given: Given, _: Sequence[Any], out: Tensor) -> Field | None:
    """Values at the same place together: sums, gates, concatenated channels, activations."""
    everything = any(field.everything for _, field in given)
    local = [field for _, field in given if field.axes is not None]
    if not local:
        return given[0][1]
    for value, field in given:
        spots = [size for dim, size in enumerate(value.shape) if dim in field.dims]
        ends = [out.shape[dim] for dim in field.dims if dim < out.dim()]
        if field.axes is not None and spots != ends:
            return None
    axes: list[Axis] = list(local[0].axes or ())
    for field in local[1:]:
        pairs = zip(axes, field.axes or (), strict=False)
        both = [joint for one, other in pairs if (joint := one.joined(other)) is not None]
        if field.dims != local[0].dims or len(both) != len(axes):
            return None
        axes = both
    return Field(tuple(axes), local[0].dims, everything)


def _convolution(given: Given, args: Sequence[Any], _: Tensor) -> Field | None:
    weight, stride, padding, dilation, transposed = args[1], *args[3:7]
    move = axis.spread if transposed else axis.slide
    return given[0][1].along(
        lambda i, _, one: move(
            one, weight.shape[2 + i], along(stride, i), along(padding, i), along(dilation, i)
        )
    )


def _pool(given: Given, args: Sequence[Any], _: Tensor, dilated: Sequence[int] = (1,)) -> Any:
    kernel, stride, padding = [*args[1:4], *((), (0,))[len(args) - 2 :]][:3]
    return given[0][1].along(
        lambda _, dim, one: axis.slide(
            one, along(kernel, dim - 2), along(stride or kernel, dim - 2),
            along(padding, dim - 2), along(dilated, dim - 2),
        )
    )  # fmt: skip


def _max_pool(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    return _pool(given, args, out, args[4] if len(args) > 4 else (1,))  # noqa: PLR2004 - its place


def _adaptive(given: Given, _: Sequence[Any], out: Tensor) -> Field | None:
    value, field = given[0]
    if all(out.shape[dim] == 1 < value.shape[dim] for dim in field.dims):
        return Field(None, (), everything=True)
    return field.along(lambda _, dim, one: axis.share(one, value.shape[dim], out.shape[dim]))


def _reduced(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    """A mean or sum over some dimensions: over the image it sees everything."""
    value, field = given[0]
    gone = {dim % value.dim() for dim in (args[1] or range(value.dim()))}
    if gone.isdisjoint(field.dims):
        kept = out.dim() == value.dim()
        dims = [dim if kept else dim - sum(g < dim for g in gone) for dim in field.dims]
        return field._replace(dims=tuple(dims))
    if all(value.shape[dim] == 1 for dim in field.dims):
        return field._replace(dims=())
    return Field(None, (), everything=True) if gone >= set(field.dims) else None


def _product(given: Given, _: Sequence[Any], __: Tensor) -> Field:
    """A matrix product mixes places, if any are left."""
    local = [field for _, field in given if field.axes is not None]
    mixed = any(field.dims for field in local) or not local
    return Field(None, (), everything=True) if mixed else local[0]


def _viewed(given: Given, _: Sequence[Any], out: Tensor) -> Field | None:
    """A new shape on the same values: a dimension stays where as many values precede it."""
    value, field = given[0]
    if field.axes is None or not field.dims:
        return field
    places = {(before, size): dim for dim, (before, size) in enumerate(_places(out))}
    wanted = list(_places(value))
    dims = [places.get(wanted[dim]) for dim in field.dims]
    if None not in dims:
        return field._replace(dims=tuple(dim for dim in dims if dim is not None))
    if all(value.shape[dim] == 1 for dim in field.dims):
        return field._replace(dims=())
    return Field(None, (), everything=True)


def _places(value: Tensor) -> Iterator[tuple[int, int]]:
    """How many values stand before each dimension, and its size."""
    before = 1
    for size in value.shape:
        yield before, size
        before *= size


def _permuted(given: Given, args: Sequence[Any], _: Tensor) -> Field:
    value, field = given[0]
    order = [dim % value.dim() for dim in args[1]]
    return field._replace(dims=tuple(order.index(dim) for dim in field.dims))


def _transposed(given: Given, args: Sequence[Any], _: Tensor) -> Field:
    value, field = given[0]
    first, second = (dim % value.dim() for dim in (args[1:3] or (0, 1)))
    swapped = {first: second, second: first}
    return field._replace(dims=tuple(swapped.get(dim, dim) for dim in field.dims))


def _unsqueezed(given: Given, args: Sequence[Any], out: Tensor) -> Field:
    place = args[1] % out.dim()
    field = given[0][1]
    return field._replace(dims=tuple(dim + (dim >= place) for dim in field.dims))


def _squeezed(given: Given, args: Sequence[Any], _: Tensor) -> Field | None:
    value, field = given[0]
    places = args[1:] or [[dim for dim, size in enumerate(value.shape) if size == 1]]
    gone = {dim % value.dim() for dim in tree_leaves(places) if value.shape[dim] == 1}
    if gone & set(field.dims):
        return field._replace(dims=()) if gone >= set(field.dims) else None
    return field._replace(dims=tuple(dim - sum(g < dim for g in gone) for dim in field.dims))


def _sliced(given: Given, args: Sequence[Any], _: Tensor) -> Field | None:
    value, field = given[0]
    where, start, _, step = [*args[1:], *(0, 0, None, 1)[len(args) - 1 :]]
    first = (start or 0) + (value.shape[where] if (start or 0) < 0 else 0)
    return field.along(
        lambda _, dim, one: axis.shift(one, first, step) if dim == where % value.dim() else one
    )


def _padded(given: Given, args: Sequence[Any], _: Tensor) -> Field | None:
    value, field = given[0]
    before = {value.dim() - 1 - i: count for i, count in enumerate(args[1][::2])}
    return field.along(lambda _, dim, one: axis.shift(one, -before.get(dim, 0)))


def _resized(given: Given, out: Tensor, *, smooth: bool) -> Field | None:
    value, field = given[0]
    return field.along(
        lambda _, dim, one: axis.resize(one, value.shape[dim], out.shape[dim], smooth=smooth)
    )


_EVEN = (aten._adaptive_avg_pool2d.default, aten.adaptive_max_pool2d.default)  # noqa: SLF001 - its name
_PRODUCTS = (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default)
RULES: dict[Any, Callable[[Given, Sequence[Any], Tensor], Field | None]] = {
    aten.convolution.default: _convolution,
    aten.max_pool2d_with_indices.default: _max_pool,
    **dict.fromkeys((aten.avg_pool2d.default, aten.avg_pool3d.default), _pool),
    **dict.fromkeys(_EVEN, _adaptive),
    **dict.fromkeys((aten.mean.dim, aten.sum.dim_IntList, aten.amax.default), _reduced),
    **dict.fromkeys(_PRODUCTS, _product),
    **dict.fromkeys((aten.view.default, aten._unsafe_view.default), _viewed),  # noqa: SLF001 - its name
    aten.permute.default: _permuted,
    **dict.fromkeys((aten.transpose.int, aten.t.default), _transposed),
    aten.unsqueeze.default: _unsqueezed,
    **dict.fromkeys((aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default), _squeezed),
    aten.slice.Tensor: _sliced,
    aten.constant_pad_nd.default: _padded,
    aten.upsample_nearest2d.default: lambda given, _, out: _resized(given, out, smooth=False),
    aten.upsample_bilinear2d.default: lambda given, _, out: _resized(given, out, smooth=True),
}
