"""A net as a chain of blocks in the order of the forward pass, short enough to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnnctl.report.audit import kernel
from cnnctl.report.tree import Layer, Node, grow

LONG = 32  # steps: in a longer chain, blocks that differ in their channels alone are folded too
KINDS = ("input", "conv", "dense", "pool", "norm", "join", "block", "other")
WEIGHTED = {"conv", "dense"}


@dataclass(frozen=True)
class Step:
    """One place of the chain: a layer with its normalisation, or `times` blocks in a row.

    `params` and `macs` are those of all `times` blocks; `end` is the last of them.
    """

    name: str
    node: Node
    end: Node
    times: int
    params: int
    macs: int

    @property
    def label(self) -> str:
        """conv2_1, or conv2_2 … conv2_3."""
        return self.name if self.times == 1 else f"{self.name} … {self.end.name}"

    @property
    def output(self) -> list[int]:
        """Channels, height and width of what it gives."""
        return self.end.leaf["output"]

    @property
    def kind(self) -> str:
        """One of KINDS."""
        if self.node.layer is None:
            return "block"
        kind = self.node.layer["kind"]
        return kind if kind in KINDS else "other"

    @property
    def work(self) -> str:
        """What it does: conv 3×3 /2 p1, max pool; of a block the number of weight layers."""
        if self.node.layer is not None:
            return work(self.node.layer)
        found = sum(times for layer, times in leaves(self.node) if layer["kind"] in WEIGHTED)
        each = " each" if self.times > 1 else ""
        return f"{found} weight layer{'' if found == 1 else 's'}{each}"


def work(layer: Layer) -> str:
    """What a layer does, in a few characters."""
    kind, of = layer["kind"], layer["type"].lower()
    if kind == "pool":
        kind = next((f"{word} pool" for word in ("max", "avg") if word in of), kind)
    elif kind == "input":
        kind = "image"
    elif kind not in WEIGHTED:
        kind = layer["type"]
    return f"{kind} {kernel(layer)}".strip()


def leaves(node: Node, times: int = 1) -> Iterator[tuple[Layer, int]]:
    """Each layer below a node, with the number of times that it stands there."""
    if node.layer is not None:
        yield node.layer, times
    for part in node.parts:
        yield from leaves(part, times * part.times)


def chain(net: dict[str, Any]) -> list[Step]:
    """The steps; their parameters and multiply-adds add up to those of all layers."""
    steps: list[Step] = []
    nodes = grow(list(_telling(net["layers"])), silent=True)
    for prefix, node in _opened([("", node) for node in nodes]):
        params, macs = (node.times * (node.total(key) or 0) for key in ("params", "macs"))
        if steps and _normalises(node, steps[-1]):
            before = steps.pop()
            steps.append(replace(before, params=before.params + params, macs=before.macs + macs))
        else:
            steps.append(
                Step(prefix + node.name, node, node.last or node, node.times, params, macs)
            )
    return _alike(steps) if len(steps) > LONG else steps


def _telling(layers: Sequence[Layer]) -> Iterator[Layer]:
    """All but activations, dropout and whatever else leaves maps as they are."""
    before: list[int] = []
    for layer in layers:
        changed = layer["output"] != before and len(layer["output"]) > 1
        if layer["kind"] != "silent" or layer["params"] or changed:
            yield layer
        before = layer["output"]


def _opened(nodes: list[tuple[str, Node]]) -> list[tuple[str, Node]]:
    """A block that holds more than half of all layers (`features`) gives way to its parts.

    Not one that ends where branches meet, nor one of several equal ones: those are drawn.
    """
    sizes = [node.times * sum(times for _, times in leaves(node)) for _, node in nodes]
    place = max(range(len(nodes)), key=sizes.__getitem__)
    prefix, node = nodes[place]
    if not node.parts or node.times > 1 or 2 * sizes[place] <= sum(sizes):
        return nodes
    end = node.parts[-1].layer
    if end is not None and end["kind"] == "join":
        return nodes
    parts = [(f"{prefix}{node.name}.", part) for part in node.parts]
    return _opened([*nodes[:place], *parts, *nodes[place + 1 :]])


def _normalises(node: Node, step: Step) -> bool:
    """Whether it is conv1_norm, and conv1 the step before."""
    layer, before = node.layer, step.node.layer
    if layer is None or before is None or layer["kind"] != "norm":
        return False
    return layer["name"].startswith(before["name"])


def _alike(steps: list[Step]) -> list[Step]:
    """Blocks of the same layers on maps of the same size are one step, whatever their channels."""
    kept: list[Step] = []
    for step in steps:
        before = kept[-1] if kept else None
        if before is None or not step.node.parts or _skeleton(before) != _skeleton(step):
            kept.append(step)
            continue
        times, params = before.times + step.times, before.params + step.params
        macs = before.macs + step.macs
        kept[-1] = replace(before, end=step.end, times=times, params=params, macs=macs)
    return kept


def _skeleton(step: Step) -> Any:
    """What two blocks have to share: the places, types, windows and map sizes of their layers."""
    return [
        (layer["name"].removeprefix(step.name), layer["type"], kernel(layer), layer["output"][1:])
        for layer, _ in leaves(step.node)
    ]
