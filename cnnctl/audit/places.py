"""Where the values of a tensor look at the image, through operations that only rearrange them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from cnnctl.audit import axis
from cnnctl.audit.axis import Axis
from cnnctl.mirror import reflected

aten: Any = torch.ops.aten
Place = tuple[int, int]  # how many values stand before a dimension, and its size


class Field(NamedTuple):
    """What the values of a tensor see.

    `axes` is the local part, None if there is none; `dims` are the dimensions of the tensor
    that they belong to, none where every value sees the same; `everything` says whether the
    whole image is seen, too. While a view hides the dimensions in others, as flattening does,
    `folds` are their places.
    """

    axes: tuple[Axis, ...] | None
    dims: tuple[int, ...]
    everything: bool = False
    folds: tuple[Place, ...] = ()

    def along(self, change: Callable[[int, Axis], Axis | None]) -> Field | None:
        """The field after change(dimension, axis) of every axis; None if one gets lost."""
        if self.axes is None or not self.dims:
            return self
        changed = [change(dim, one) for dim, one in zip(self.dims, self.axes, strict=True)]
        kept = tuple(one for one in changed if one is not None)
        return self._replace(axes=kept) if len(kept) == len(changed) else None


Given = list[tuple[Tensor, Field]]
WHOLE = Field(None, (), everything=True)


def places(value: Tensor) -> Iterator[Place]:
    """The places of the dimensions."""
    before = 1
    for size in value.shape:
        yield before, size
        before *= size


def inside(value: Tensor, folds: Sequence[Place], dims: set[int]) -> list[bool]:
    """Whether each of the hidden places lies in one of the dimensions `dims`."""
    spans = [place for dim, place in enumerate(places(value)) if dim in dims]
    return [
        any(first <= before and before * size <= first * long for first, long in spans)
        for before, size in folds
    ]


def viewed(given: Given, _: Sequence[Any], out: Tensor) -> Field | None:
    """A new shape on the same values: a dimension stays where as many values precede it."""
    value, field = given[0]
    old = list(places(value))
    wanted = field.folds or tuple(old[dim] for dim in field.dims)
    left = dict(enumerate(places(out)))
    dims = []
    for place in wanted:
        dim = next((dim for dim, other in left.items() if other == place), None)
        if dim is not None:
            dims.append(dim)
            del left[dim]
    if len(dims) == len(wanted):
        return field._replace(dims=tuple(dims), folds=())
    if all(size == 1 for _, size in wanted):
        return field._replace(dims=(), folds=())
    return field._replace(dims=(), folds=wanted)


def _permuted(given: Given, args: Sequence[Any], _: Tensor) -> Field:
    value, field = given[0]
    order = [dim % value.dim() for dim in args[1]]
    return field._replace(dims=tuple(order.index(dim) for dim in field.dims))


def _transposed(given: Given, args: Sequence[Any], _: Tensor) -> Field:
    value, field = given[0]
    first, second = (dim % value.dim() for dim in (args[1:3] or (0, -1)))
    swapped = {first: second, second: first}
    return field._replace(dims=tuple(swapped.get(dim, dim) for dim in field.dims))


def _unsqueezed(given: Given, args: Sequence[Any], out: Tensor) -> Field:
    place = args[1] % out.dim()
    field = given[0][1]
    return field._replace(dims=tuple(dim + (dim >= place) for dim in field.dims))


def _squeezed(given: Given, args: Sequence[Any], _: Tensor) -> Field | None:
    value, field = given[0]
    wanted = tree_leaves(args[1:]) or range(value.dim())
    gone = {dim % value.dim() for dim in wanted if value.shape[dim] == 1}
    if gone.isdisjoint(field.dims):
        return field._replace(dims=without(field.dims, gone))
    return field._replace(dims=()) if all(value.shape[dim] == 1 for dim in field.dims) else None


def without(dims: Sequence[int], gone: set[int]) -> tuple[int, ...]:
    """The numbers that dimensions get when others go."""
    return tuple(dim - sum(g < dim for g in gone) for dim in dims)


def _sliced(given: Given, args: Sequence[Any], _: Tensor) -> Field | None:
    value, field = given[0]
    where, start, _, step = [*args[1:], *(0, None, None, 1)[len(args) - 1 :]]
    where, start = where % value.dim(), start or 0
    first = max(start + value.shape[where], 0) if start < 0 else start
    return field.along(lambda dim, one: axis.shift(one, first, step) if dim == where else one)


def _padded(given: Given, args: Sequence[Any], _: Tensor) -> Field | None:
    value, field = given[0]
    before = {value.dim() - 1 - i: count for i, count in enumerate(args[1][::2])}
    return field.along(lambda dim, one: axis.shift(one, -before.get(dim, 0)))


def _picked(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    """Some indices of a dimension that is none of the image's."""
    value, field = given[0]
    where = args[1] % value.dim()
    if where in field.dims:
        return None
    gone = {where} if out.dim() < value.dim() else set()
    return field._replace(dims=without(field.dims, gone))


def _indexed(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    """The same by a tensor; of one of the image's dimensions those that mirroring edges gives."""
    value, field = given[0]
    where = args[1] % value.dim()
    if where not in field.dims:
        return _picked(given, args, out)
    start = _mirrored(args[2], value.shape[where])
    if start is None:
        return None
    return field.along(lambda dim, one: axis.shift(one, start) if dim == where else one)


def _mirrored(picked: Tensor, length: int) -> int | None:
    """Where indices begin on an endless line of mirror images; None if they are no such thing.

    Of all starts that give the same indices the one with equal borders on both sides is meant.
    """
    if picked.is_meta or length == 1:
        return None
    rises = torch.nonzero(picked.diff() == 1)
    if not len(rises):
        return None
    period, first = 2 * (length - 1), int(rises[0])
    start, wanted = int(picked[first]) - first, (length - len(picked)) // 2
    start += round((wanted - start) / period) * period
    whole = reflected(torch.arange(len(picked), device="cpu") + start, length)
    return start if torch.equal(whole, picked) else None


def _split(given: Given, args: Sequence[Any], out: Tensor) -> Field | None:
    return _picked(given, (args[0], args[2] if len(args) > 2 else 0), out)  # noqa: PLR2004 - its place


def _expanded(given: Given, _: Sequence[Any], out: Tensor) -> Field | None:
    value, field = given[0]
    more = out.dim() - value.dim()
    if all(value.shape[dim] == 1 for dim in field.dims):
        return field._replace(dims=())
    kept = all(value.shape[dim] == out.shape[dim + more] for dim in field.dims)
    return field._replace(dims=tuple(dim + more for dim in field.dims)) if kept else None


VIEWS = (aten.view.default, aten._unsafe_view.default)  # noqa: SLF001 - its name
RULES: dict[Any, Callable[[Given, Sequence[Any], Tensor], Field | None]] = {
    **dict.fromkeys(VIEWS, viewed),
    aten.permute.default: _permuted,
    **dict.fromkeys((aten.transpose.int, aten.t.default), _transposed),
    aten.unsqueeze.default: _unsqueezed,
    **dict.fromkeys((aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default), _squeezed),
    aten.slice.Tensor: _sliced,
    **dict.fromkeys(
        (aten.constant_pad_nd.default, aten.reflection_pad2d.default,
         aten.replication_pad2d.default), _padded
    ),
    aten.select.int: _picked,
    aten.index_select.default: _indexed,
    **dict.fromkeys((aten.split.Tensor, aten.split_with_sizes.default), _split),
    aten.expand.default: _expanded,
}  # fmt: skip
