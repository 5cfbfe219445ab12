"""How deep a net is: weight layers on the longest path from the image to the output."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from cnnctl.audit.geometry import CONV, DENSE, KINDS, tensors
from cnnctl.audit.ghost import Ghost
from cnnctl.audit.reach import Reach


class Paths(Reach):
    """Receptive fields and depths of the tensors that are alive.

    Convolutions and dense layers with parameters count, as papers count them: projections on
    shortcuts and parallel branches do not add to the longest path.
    """

    def __init__(self, ghost: Ghost) -> None:
        super().__init__()
        self.parameters = {id(value.untyped_storage()) for value in ghost.parameters.values()}
        self.depths: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self.deepest = 0

    def follow(self, func: Any, args: Sequence[Any], out: Any) -> None:
        """Give the results of an operation their fields and their depth."""
        super().follow(func, args, out)
        given = list(tensors(args))
        depth = max((self._depth(value) for value in given), default=0)
        if KINDS.get(func) in {CONV, DENSE}:
            depth += any(id(value.untyped_storage()) in self.parameters for value in given)
        for value in tensors((out,)):
            self.depths[id(value)] = (weakref.ref(value), depth)
        self.deepest = max(self.deepest, depth)

    def _depth(self, value: Tensor) -> int:
        found = self.depths.get(id(value))
        return found[1] if found and found[0]() is value else 0
