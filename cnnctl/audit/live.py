"""Bytes that are alive: every storage counts once, from its first tensor to its last."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from torch import Tensor, UntypedStorage


class Peak:
    """The most bytes at one time, by kind, and where that was."""

    __slots__ = ("bytes", "parts", "place")

    def __init__(self) -> None:
        self.bytes = 0
        self.parts: dict[str, int] = {}
        self.place: Any = None


class Live:
    """Counts storages of real, meta and fake tensors alike.

    Views and results of operations in place share the storage of what they look at, so nothing
    is counted twice. `block` is the allocator's smallest unit in bytes: 1 on a CPU, 512 on a
    GPU. `place` says where the program is when a new peak is reached.
    """

    def __init__(self, block: int = 1, place: Callable[[], Any] = lambda: None) -> None:
        self.block = block
        self.place = place
        self.bytes = 0
        self.parts: defaultdict[str, int] = defaultdict(int)
        self.peak = Peak()
        self.known: dict[int, tuple[weakref.ref[UntypedStorage], list[Any]]] = {}

    def add(self, value: Tensor, kind: str, owner: Any = None) -> bool:
        """Count the storage of a tensor until it is freed; False if it is counted already."""
        storage = value.untyped_storage()
        key = id(storage)
        if key in self.known:
            return False
        size = self.rounded(storage.nbytes())
        entry = [kind, size, owner]

        def freed(_: weakref.ref[UntypedStorage]) -> None:
            self._count(entry[0], -size)
            del self.known[key]  # before another storage gets its number

        self.known[key] = (weakref.ref(storage, freed), entry)
        self._count(kind, size)
        return True

    def rounded(self, size: int) -> int:
        """Bytes that the allocator takes for so many."""
        return -(-size // self.block) * self.block

    def hold(self, kind: str, size: int) -> None:
        """Count bytes that no tensor here stands for, as if they had been there all the time."""
        self.bytes += size
        self.parts[kind] += size
        self.peak.bytes += size
        self.peak.parts[kind] = self.peak.parts.get(kind, 0) + size

    def moment(self, kind: str, size: int) -> None:
        """Count bytes that are freed at once, as the workspace of one operation is."""
        self._count(kind, size)
        self._count(kind, -size)

    def rename(self, value: Tensor, kind: str) -> None:
        """Count the storage of a tensor under another kind."""
        found = self.known.get(id(value.untyped_storage()))
        if found is not None:
            entry = found[1]
            self.parts[entry[0]] -= entry[1]
            self.parts[kind] += entry[1]
            entry[0] = kind

    def owned(self) -> dict[Any, int]:
        """The bytes that are alive, by their owner."""
        sums: defaultdict[Any, int] = defaultdict(int)
        for _, (_, size, owner) in self.known.values():
            sums[owner] += size
        return dict(sums)

    def _count(self, kind: str, size: int) -> None:
        self.bytes += size
        self.parts[kind] += size
        if self.bytes > self.peak.bytes:
            self.peak.bytes = self.bytes
            self.peak.parts = dict(self.parts)
            self.peak.place = self.place()
