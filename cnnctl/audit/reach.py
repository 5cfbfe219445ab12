"""The receptive field of every tensor of a forward pass, carried from operation to operation.

What a tensor sees has two parts. The local one is a range of pixels on every axis, exact on an
endless image. The other is the whole image at once, as behind global pooling, dense layers and
the gates of squeeze and excitation. Where an operation is not known here, the field is lost and
told as not available, never guessed.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from cnnctl.audit.axis import Axis
from cnnctl.audit.sight import RULES, Field, joined


class Reach:
    """The fields of the tensors that are alive."""

    def __init__(self) -> None:
        self.fields: dict[int, tuple[weakref.ref[Tensor], Field]] = {}

    def begin(self, image: Tensor) -> None:
        """Every pixel of an image (B, C, H, W) sees itself."""
        dims = tuple(range(2, image.dim()))
        self.put(image, Field(tuple(Axis() for _ in dims), dims))

    def put(self, value: Tensor, field: Field) -> None:
        """Remember it as long as the tensor lives."""
        self.fields[id(value)] = (weakref.ref(value), field)

    def of(self, value: Tensor) -> Field | None:
        """The field of a tensor, if it is known."""
        found = self.fields.get(id(value))
        return found[1] if found and found[0]() is value else None

    def follow(self, func: Any, args: Sequence[Any], out: Any) -> None:
        """Give the results of an operation their fields."""
        given = [
            (value, field)
            for value in tree_leaves(args)
            if isinstance(value, Tensor) and (field := self.of(value)) is not None
        ]
        if not given:
            return
        rule = RULES.get(func, joined)
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                field = rule(given, args, value)
                if field is not None:
                    self.put(value, field)
                else:
                    self.fields.pop(id(value), None)
