"""What torch gives for real tensors: the truth for shapes without numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from cnnctl.audit.places import Field
from cnnctl.audit.reach import Reach
from cnnctl.nets.meta import Meta, run
from cnnctl.nets.shapes import RULES

aten: Any = torch.ops.aten


def meta(*shape: int, last: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of a shape on the meta device, in channels_last if `last`."""
    kind = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, dtype=dtype, device="meta", memory_format=kind)


def real(values: Any) -> Any:
    """The same with zeros in memory, laid out in the same way."""
    return tree_map_only(Tensor, _zeros, values)


def _zeros(value: Tensor) -> Tensor:
    reach = sum((size - 1) * step for size, step in zip(value.shape, value.stride(), strict=True))
    storage = torch.zeros(max(reach, 0) + 1 if value.numel() else 0, dtype=value.dtype)
    return storage.as_strided(value.shape, value.stride())


def ghosts(values: Any) -> Any:
    """The other way round: the same without numbers, laid out in the same way."""
    return tree_map_only(
        Tensor,
        lambda value: torch.empty_strided(
            value.shape, value.stride(), dtype=value.dtype, device="meta"
        ),
        values,
    )


def told(result: Any) -> list[Any]:
    """Shape, type and strides of every tensor of a result; the stride of one index is free."""
    return [
        value
        if not isinstance(value, Tensor)
        else (
            tuple(value.shape),
            value.dtype,
            [step for size, step in zip(value.shape, value.stride(), strict=True) if size > 1],
        )
        for value in tree_leaves(result)
    ]


def answer(func: Any, *args: Any) -> Any:
    """What the rule of an operation says, None if it leaves it to torch; compared with a real call.

    What torch refuses must be left to it.
    """
    ours = RULES[func](*args)
    try:
        theirs = func(*real(args))
    except (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError):
        assert ours is None
        return None
    if ours is not None:
        assert told(ours) == told(theirs)
        assert all(value is None or value.is_meta for value in tree_leaves(ours))
    return ours


class Following(Meta):
    """Carries receptive fields from operation to operation."""

    def __init__(self) -> None:
        super().__init__()
        self.reach = Reach()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = run(func, args, kwargs)
        self.reach.follow(func, args, out)
        return out


def field(call: Callable[[Tensor], Tensor], *shape: int) -> Field | None:
    """What the values see that `call` makes of images of a shape (B, C, H, W)."""
    mode, image = Following(), meta(*shape)
    mode.reach.begin(image)
    with torch.no_grad(), torch.device("meta"), mode:
        return mode.reach.of(call(image))
