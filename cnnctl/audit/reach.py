"""The receptive field of every tensor of a forward pass, carried from operation to operation.

What a tensor sees has two parts. The local one is a range of pixels on every axis, exact on an
endless image. The other is the whole image at once, as behind global pooling, dense layers and
the gates of squeeze and excitation. Where an operation is not known here, the field is lost and
told as not available, never guessed; so it is for all that depends on such a result. A tensor
that does not come from the image has no field and adds nothing. Indices that a net counts out are
counted here as well: they say which places of a map are picked.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from cnnctl.audit.axis import Axis
from cnnctl.audit.places import Field
from cnnctl.audit.sight import fresh, seen

aten: Any = torch.ops.aten
COUNTING = (aten.arange.default, aten.arange.start, aten.arange.start_step)


class Reach:
    """The fields of the tensors that are alive."""

    def __init__(self) -> None:
        self.fields: dict[int, tuple[weakref.ref[Tensor], Field | None]] = {}
        self.indices: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}

    def begin(self, image: Tensor) -> None:
        """Every pixel of an image (B, C, H, W) sees itself."""
        dims = tuple(range(2, image.dim()))
        self.put(image, Field(tuple(Axis() for _ in dims), dims))

    def put(self, value: Tensor, field: Field | None) -> None:
        """Remember it as long as the tensor lives; None is a field that got lost."""
        self.fields[id(value)] = (weakref.ref(value), field)

    def of(self, value: Tensor) -> Field | None:
        """The field of a tensor, if it is known."""
        return self.fields[id(value)][1] if self._depends(value) else None

    def follow(self, func: Any, args: Sequence[Any], out: Any) -> None:
        """Give the results of an operation their fields."""
        used = [one for one in tree_leaves(args) if isinstance(one, Tensor) and self._depends(one)]
        if not used:
            self._count(func, args, out)
        if not used or fresh(func):
            return
        args = tree_map_only(Tensor, self._counted, args)
        given = [(value, field) for value in used if (field := self.of(value)) is not None]
        lost = len(given) < len(used)
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self.put(value, None if lost else seen(func, given, args, value))

    def _count(self, func: Any, args: Sequence[Any], out: Any) -> None:
        """Whole numbers that are made of nothing else, without a device's memory."""
        given = [self._counted(value) for value in tree_leaves(args) if isinstance(value, Tensor)]
        known = all(not value.is_meta for value in given) and (given or func in COUNTING)
        if known and isinstance(out, Tensor) and out.dtype == torch.int64 and out.dim() == 1:
            made = func(*tree_map_only(Tensor, self._counted, args))
            self.indices[id(out)] = (weakref.ref(out), made)

    def _counted(self, value: Tensor) -> Tensor:
        """The same with its numbers, if they are known."""
        found = self.indices.get(id(value))
        return found[1] if found is not None and found[0]() is value else value

    def _depends(self, value: Tensor) -> bool:
        """Whether a tensor comes from the image."""
        found = self.fields.get(id(value))
        return found is not None and found[0]() is value
