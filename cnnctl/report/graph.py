"""A net in Graphviz' language: the folded chain, each block a cluster of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cnnctl.report.chain import Step, chain, work
from cnnctl.report.format import count, shape
from cnnctl.report.tree import Layer, Node, label

STYLE = """\
  graph [fontname="sans-serif", fontsize=11, labeljust=l, style=rounded, color="#a9a59b"];
  node [fontname="sans-serif", fontsize=10, shape=box, style="rounded,filled",
        color="#8a867c", fillcolor="#f4f2ee"];
  edge [color="#6f6b63", arrowsize=0.7];"""
FILL = {
    "input": "#e7e4dc", "conv": "#cfe0f5", "dense": "#cdebd9", "pool": "#fbdcc4", "join": "#efd3e2",
}  # fmt: skip
PAIR = 2  # a join has two inputs at least


def dot(net: dict[str, Any]) -> str:
    """One digraph; between steps the edges follow the chain, inside blocks `branches`."""
    lines = [f"digraph {_quoted(net['name'])} {{", STYLE]
    names: dict[int, str] = {}
    edges: list[tuple[str, str]] = []
    before: tuple[Layer, str] | None = None
    for step in chain(net):
        lines += _declared(step.node, _told(step), names, "  ")
        if before is not None:
            edges += _wired(step.node, *before, names)
        before = step.end.leaf, names[id(_sink(step.node))]
    return "\n".join([*lines, *(f"  {one} -> {other};" for one, other in edges), "}", ""])


def branches(parts: Sequence[Node], before: Layer) -> list[Sequence[Node]] | None:
    """The parallel branches of a block that ends in a join; an empty one is a shortcut.

    The document of an audit has no edges, so they are concluded: each branch sees, through the
    window of its first layer, what the layer `before` the block sees, and the shapes of all
    add up to that of the join. None where they do not: then the order of calls is all there is.
    """
    *rest, join = parts
    if join.layer is None or join.layer["kind"] != "join" or not rest:
        return None
    groups: list[Sequence[Node]] = []
    for part in rest:
        if groups and part.layer is not None and groups[-1][-1].layer is not None:
            groups[-1] = [*groups[-1], part]
        else:
            groups.append([part])
    if not all(_hangs(group[0], before) for group in groups):
        groups = [rest]
    given = [group[-1].leaf["output"] for group in groups]
    if len(groups) >= PAIR and _meet(join.layer, given):
        return groups
    return [*groups, []] if _meet(join.layer, given, before["output"]) else None


def _hangs(node: Node, before: Layer) -> bool:
    """Whether the first window of a branch looks at the result of the layer `before`."""
    first = node
    while first.layer is None:
        first = first.parts[0]
    layer = first.layer
    if None in (layer["receptive_field"], before["receptive_field"]):
        return False
    window = layer.get("kernel") or [1, 1]
    apart = layer.get("dilation") or [1, 1]
    return _fields(layer) == [
        field + (side - 1) * between * before["jump"]
        for field, side, between in zip(_fields(before), window, apart, strict=False)
    ]


def _fields(layer: Layer) -> list[int]:
    return layer.get("receptive_field_by_axis") or [layer["receptive_field"]] * 2


def _meet(join: Layer, given: Sequence[list[int]], shortcut: list[int] | None = None) -> bool:
    """Whether tensors of these shapes give that of the join, a part of the shortcut included."""
    output = join["output"]
    every = [*given, *([] if shortcut is None else [shortcut])]
    if any(len(one) != len(output) for one in every):
        return False
    if join["type"] != "cat":
        return output in every and all(
            side in (1, whole) for one in every for side, whole in zip(one, output, strict=True)
        )
    missing = output[0] - sum(one[0] for one in given)
    enough = missing == 0 if shortcut is None else 0 < missing <= shortcut[0]
    return enough and all(one[1:] == output[1:] for one in every)


def _wired(
    node: Node, before: Layer, start: str, names: dict[int, str]
) -> Iterator[tuple[str, str]]:
    """The edges into a node and inside of it; it follows `before`, whose name is `start`."""
    if node.layer is not None:
        yield start, names[id(node)]
        return
    found = branches(node.parts, before)
    if found is None:
        yield from _chained(node.parts, before, start, names)
        return
    join = names[id(node.parts[-1])]
    for group in found:
        yield from _chained(group, before, start, names)
        yield names[id(_sink(group[-1]))] if group else start, join


def _chained(
    parts: Sequence[Node], before: Layer, start: str, names: dict[int, str]
) -> Iterator[tuple[str, str]]:
    for part in parts:
        yield from _wired(part, before, start, names)
        before, start = (part.last or part).leaf, names[id(_sink(part))]


def _sink(node: Node) -> Node:
    """The last layer of a block."""
    return node if node.layer is not None else _sink(node.parts[-1])


def _declared(node: Node, told: str, names: dict[int, str], indent: str) -> Iterator[str]:
    """A layer as a node, a block as a cluster; each gets the next free name."""
    number = len(names)
    names[id(node)] = f"n{number}"
    if node.layer is not None:
        colour = FILL.get(node.layer["kind"])
        fill = f', fillcolor="{colour}"' if colour else ""
        yield f"{indent}n{number} [label={_quoted(told)}{fill}];"
        return
    yield f"{indent}subgraph cluster_{number} {{"
    yield f"{indent}  label={_quoted(told)};"
    for part in node.parts:
        text = _facts(label(part), part, part.times)
        yield from _declared(part, text, names, indent + "  ")
    yield indent + "}"


def _told(step: Step) -> str:
    times = f" ×{step.times}" if step.times > 1 else ""
    return _lines(f"{step.label}{times}", step.work, step.output, step.params)


def _facts(name: str, node: Node, times: int) -> str:
    layer = node.layer
    params = times * (node.total("params") or 0)
    return _lines(name, "" if layer is None else work(layer), node.leaf["output"], params)


def _lines(name: str, doing: str, output: list[int], params: int) -> str:
    told = [name, doing if doing != name else "", shape(output)]
    told += [f"{count(params)} params"] if params else []
    return "\n".join(line for line in told if line)


def _quoted(text: str) -> str:
    """A string of Graphviz' language: quotes and backslashes stand for themselves."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
