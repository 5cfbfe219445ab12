"""The layers of a net as a tree of blocks, equal blocks that follow each other folded into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Layer = dict[str, Any]
SUMMED = ("params", "weights", "macs", "activations", "bytes", "kept_bytes")
SEEN = ("receptive_field", "jump", "sees_all", "sees_enough")  # of the last layer of a block
ADDED = ("activations", "bytes", "kept_bytes")
OF_PLACE = {"name", "call", *SEEN, "receptive_field_by_axis"}  # differ between equal blocks


@dataclass
class Node:
    """A layer, or a block with its parts; `last` is the last of `times` equal ones."""

    name: str
    layer: Layer | None = None
    parts: list[Node] = field(default_factory=list)
    times: int = 1
    last: Node | None = None

    @property
    def leaf(self) -> Layer:
        """The layer itself, or of a block the last layer that has all that a layer has."""
        return self.layer or self.parts[-1].end.leaf

    @property
    def end(self) -> Node:
        """The last of equal blocks."""
        return self.last or self

    def total(self, key: str) -> int | None:
        """The sum over all layers; null where one of them is not available."""
        if self.layer is not None:
            return self.layer[key]
        total: int | None = 0
        for part in self.parts:
            one = part.total(key)
            total = _sum(total, None if one is None else part.times * one)
        return total

    def summary(self) -> Layer:
        """A block as one row: sums, and the shape and field of what it gives."""
        if self.layer is not None:
            return self.layer
        return {**self.leaf, **{key: self.total(key) for key in SUMMED}, "kernel": None}


def grow(layers: Sequence[Layer], *, silent: bool) -> list[Node]:
    """The tree of the dotted names, folded.

    Activations and dropout have rows of their own only if `silent`; what they add to memory
    stands otherwise in the row before them.
    """
    root, before = Node(""), Node("")
    for layer in layers:
        costs = layer["params"] or layer["macs"]
        if layer["kind"] == "silent" and not costs and not silent and before.layer:
            for key in ADDED:
                before.layer[key] = _sum(before.layer[key], layer[key])
            continue
        node = root
        *blocks, name = layer["name"].split(".")
        for block in blocks:
            if not node.parts or node.parts[-1].name != block or node.parts[-1].layer is not None:
                node.parts.append(Node(block))
            node = node.parts[-1]
        before = Node(name, dict(layer))
        node.parts.append(before)
    return _folded(root.parts)


def lines(nodes: Sequence[Node], *, deep: bool) -> Iterator[tuple[str, Node]]:
    """Each node with its label, drawn as a tree; the parts of blocks only if `deep`."""
    for node in nodes:
        yield label(node), node
        if deep:
            yield from _nested(node.parts, "")


def label(node: Node) -> str:
    """conv2_1, or conv2_2 … conv2_3 ×2 for equal ones."""
    return node.name if node.last is None else f"{node.name} … {node.last.name} ×{node.times}"


def _nested(nodes: Sequence[Node], indent: str) -> Iterator[tuple[str, Node]]:
    for place, node in enumerate(nodes):
        end = place == len(nodes) - 1
        yield indent + ("└ " if end else "├ ") + label(node), node
        yield from _nested(node.parts, indent + ("  " if end else "│ "))


def _folded(nodes: list[Node]) -> list[Node]:
    """Blocks equal to the one before them are counted there; single layers stay."""
    kept: list[Node] = []
    for node in nodes:
        node.parts = _folded(node.parts)
        before = kept[-1] if kept else None
        if before is not None and node.parts and _same(before) == _same(node):
            before.times += 1
            before.last = node
        else:
            kept.append(node)
    return kept


def _sum(left: int | None, right: int | None) -> int | None:
    """A sum with something that is not available is not available."""
    return None if left is None or right is None else left + right


def _same(node: Node) -> Any:
    """All that makes two blocks equal: what their layers are, not where they stand."""
    if node.layer is not None:
        return (node.name, *(repr(v) for k, v in node.layer.items() if k not in OF_PLACE))
    return tuple((part.times, part.name, _same(part)) for part in node.parts)
