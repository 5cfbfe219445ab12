"""What is kept for the backward pass only because earlier maps are joined to later ones.

A skip is a map that has gone on another way before and is concatenated to a newer one, as U-Net's
way down is to its way up. The concatenation copies it, and the layer behind keeps the copy: these
bytes are counted. The map itself is not, since the layers on its own way keep it anyway; nor are
sums, which keep no more than their result, and branches side by side, which go only one way.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, UntypedStorage

from cnnctl.audit import geometry

aten: Any = torch.ops.aten


class Skips:
    """Follows a forward pass; `kept` are the bytes of copies that are alive still."""

    def __init__(self) -> None:
        self.maps: dict[int, tuple[weakref.ref[UntypedStorage], int]] = {}  # and its number
        self.count = 0
        self.read: set[int] = set()  # of these maps, those that went on a way
        self.copies: list[tuple[weakref.ref[UntypedStorage], int]] = []

    def follow(self, func: Any, args: Sequence[Any], out: Any) -> None:
        """One operation."""
        given = list(geometry.tensors(args))
        if func is aten.cat.default:
            self._joined(given, out)
        results = list(geometry.tensors((out,)))
        if not geometry.in_place(func) and any(not geometry.shares(one, given) for one in results):
            self.read |= {self._number(value) for value in given}
        for value in results:
            self._number(value)

    @property
    def kept(self) -> int:
        """Bytes of the whole batch."""
        return sum(size for found, size in self.copies if found() is not None)

    def _joined(self, given: Sequence[Tensor], out: Tensor) -> None:
        numbers = [self._number(value) for value in given]
        newest = max(numbers, default=0)
        size = sum(
            value.numel() * out.itemsize
            for number, value in zip(numbers, given, strict=True)
            if number < newest and number in self.read
        )
        self.copies.append((weakref.ref(out.untyped_storage()), size))

    def _number(self, value: Tensor) -> int:
        """When the storage of a tensor was seen first: a number of its own."""
        storage = value.untyped_storage()
        found = self.maps.get(id(storage))
        if found is None or found[0]() is not storage:
            self.count += 1
            found = self.maps[id(storage)] = weakref.ref(storage), self.count
        return found[1]
