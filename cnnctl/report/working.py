"""The working of one layer as on a blackboard: each equation with its numbers put in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from rich.console import Console

from cnnctl.audit.arithmetic import Axis, Exact, Layer, Pair
from cnnctl.report.format import count, number, shape
from cnnctl.report.table import columns, pairs

AXES = ("height", "width")
BYTES = 4  # of a value in float32
LEAST_MB = 1000  # bytes, below which MB would be mostly zeros
ILLEGAL = "fractions are illegal: "
KINDS = {"max": "max pool", "avg": "average pool", None: "convolution"}


def lines(layer: Layer, word: str | None, fits: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Step and equation, line by line.

    `word` is the padding where it was given as a word; `fits` has what leaves no remainder.
    """
    steps = {
        "layer": _layer(layer),
        "padding": _padding(layer, word),
        "output size": _output(layer, fits),
        "parameters": _parameters(layer),
        "multiply-adds": _macs(layer),
        "memory": _memory(layer),
        "receptive field": _field(layer),
    }
    return [{"step": step, "line": line} for step, told in steps.items() for line in told]


def decimal(value: Exact) -> str:
    """7/3 -> 2.33, with more digits where 2.33 would look whole; −1 with a minus sign."""
    digits = 2
    while value % 1 and round(value, digits) % 1 == 0:
        digits += 1
    text = f"{float(value):.{digits}f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
    return text.replace("-", "−")


def sizes(layer: Layer) -> list[str]:
    """(32 + 2·2 − 5)/1 + 1 = 32 for height and width, once where they are alike."""
    return [
        f"{name}{'' if isinstance(out, int) else ILLEGAL}{_size(layer, axis)} = {decimal(out)}"
        for name, axis in _axes(layer)
        for out in [layer.out(axis)]
    ]


def growth(layer: Layer, before: Pair, jump: Pair, after: Pair) -> str:
    """3 + (3 − 1)·2 = 7: the receptive field behind one more layer."""
    return ", ".join(
        f"{name}{before[axis]} + {_reach(layer.axis(axis))}·{jump[axis]} = {after[axis]}"
        for name, axis in _axes(layer)
    )


def comparison(layer: Layer, times: int, field: Pair) -> str:
    """Weights of a stack from C to C channels against those of one kernel of its field."""
    share = "C²" if layer.groups == 1 else f"C²/{layer.groups}"
    small, large = times * math.prod(layer.kernel), math.prod(field)
    return (
        f"{times} · {_product(*layer.kernel)} {share} = {count(small)} {share} against "
        f"{count(large)} {share} of one {shape(field)}: {number(small / large)}"
    )


def worked(console: Console, data: dict[str, Any]) -> None:
    """The working and, below it, the stack if there is one, or else the alternatives."""
    steps = [row["step"] for row in data["working"]]
    names = [
        "" if step == before else step for before, step in zip(["", *steps], steps, strict=False)
    ]
    told = [row["line"] for row in data["working"]]
    pairs(console, list(zip(names, told, strict=True)))
    if "stack" in data:
        _stack(console, data["stack"])
    elif len(data["alternatives"]) > 1:
        _alternatives(console, data["alternatives"])


def _alternatives(console: Console, rows: list[dict[str, Any]]) -> None:
    console.print()
    head = ("alternatives", "parameters", "multiply-adds", "ratio", "in parts")
    cells = [
        [
            row["name"], count(row["params"]), count(row["macs"]), number(row["ratio"]),
            " + ".join(count(macs) for macs in row["parts"]),
        ]
        for row in rows
    ]  # fmt: skip
    columns(console, head, cells, text=(head[0], head[-1]), gives=head[-1:])


def _stack(console: Console, data: dict[str, Any]) -> None:
    console.print()
    head = ("layer", "output", "receptive field", "jump", "parameters", "multiply-adds")
    cells = [
        [
            str(row["layer"]), shape(row["output"]), row["working"]["receptive_field"],
            _once(row["jump"]), count(row["params"]), count(row["macs"]),
        ]
        for row in data["rows"]
    ]  # fmt: skip
    text, drops = ("output", "receptive field"), ("multiply-adds", "parameters")
    columns(console, head, cells, text=text, gives=text[1:], drops=drops)
    console.print()
    rows = [
        (f"layer {row['layer']}", equation)
        for row in data["rows"]
        for equation in row["working"]["output"]
        if ILLEGAL in equation
    ]
    if data["params"]:
        rows += [("parameters", count(data["params"])), ("C → C", data["working"])]
    pairs(console, rows)


def _layer(layer: Layer) -> Iterator[str]:
    kind = f"{'transposed ' if layer.transposed else ''}{KINDS[layer.pool]}"
    filters = [] if layer.pool else [f"{layer.filters} filter{'s' if layer.filters > 1 else ''}"]
    told = {"padding": layer.padding, "output padding": layer.output_padding}
    more = [f"{name} {_once(sides)}" for name, sides in told.items() if any(sides)]
    more += [f"dilation {_once(layer.dilation)}"] if layer.dilation != (1, 1) else []
    more += [f"{layer.groups} groups"] if layer.groups > 1 else []
    stride = f"stride {_once(layer.stride)}"
    yield " · ".join([f"{shape(layer.kernel)} {kind}", *filters, stride, *more])
    before, after = (*layer.size, layer.channels), (*layer.output, layer.filters)
    yield f"{shape(before)} → {shape(after)}"


def _padding(layer: Layer, word: str | None) -> Iterator[str]:
    if word == "valid":
        yield "valid: P = 0"
    elif word:
        half = "/2" if word == "same" else ""
        for name, axis in _axes(layer):
            reach = _reach(layer.axis(axis))
            yield f"{word}: {name}P = D(K − 1){half} = {reach}{half} = {layer.padding[axis]}"


def _output(layer: Layer, fits: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The formula, its numbers, and of fractions what torch makes of them and what would fit."""
    if layer.transposed:
        yield "(N − 1)·S − 2P + D(K − 1) + output padding + 1"
    else:
        padded = " + 2P" if any(layer.padding) else ""
        kernel = "K" if layer.dilation == (1, 1) else "D(K − 1) − 1"
        yield f"(N{padded} − {kernel})/S + 1"
    yield from sizes(layer)
    if not layer.exact:
        yield f"torch rounds down to {shape(layer.output)}: {_unseen(layer)}"
    for fit in fits:
        ways = [
            f"{name} {' or '.join(map(str, fit[name]))}"
            for name in ("padding", "stride", "input")
            if fit[name]
        ]
        name = "" if fit["axis"] == "both" else f"{fit['axis']}: "
        yield f"{name}would fit: {' · '.join(ways)}"


def _unseen(layer: Layer) -> str:
    """The pixels at the end of each axis that no kernel reaches."""
    lost: list[str] = []
    for axis, name in enumerate(("row", "column")):
        size, _, stride, padding, _ = layer.axis(axis)
        seen = (layer.output[axis] - 1) * stride + layer.field(axis) - padding
        if seen < size:
            lost.append(f"last {name}" if size - seen == 1 else f"last {size - seen} {name}s")
    return f"the {' and the '.join(lost)} never seen" if lost else "only padding is lost"


def _parameters(layer: Layer) -> Iterator[str]:
    if layer.pool:
        yield "none: a pool learns nothing"
    else:
        each = layer.weights // layer.filters
        factors = _product(*layer.kernel, _share(layer.channels, layer.groups))
        bias = f", + 1 bias = {count(each + 1)}" if layer.bias else ""
        yield f"{factors} = {count(each)} weights a filter{bias}"
        yield f"{layer.filters} · {count(each + layer.bias)} = {count(layer.params)}"


def _macs(layer: Layer) -> Iterator[str]:
    if layer.pool:
        kept = "the largest" if layer.pool == "max" else "the mean"
        terms = math.prod(layer.kernel)
        yield f"none: {kept} of {_product(*layer.kernel)} = {terms} values"
        return
    if layer.transposed:
        places = f"{_product(*layer.size, layer.channels)} inputs"
        terms = _product(*layer.kernel, _share(layer.filters, layer.groups))
    else:
        places = f"{_product(*layer.output, layer.filters)} outputs"
        terms = count(layer.weights // layer.filters)
    yield f"{places} · {terms} = {count(layer.macs)}"
    yield f"FLOPs: 2 · {count(layer.macs)} = {count(2 * layer.macs)}"


def _memory(layer: Layer) -> Iterator[str]:
    sides = (*layer.output, layer.filters)
    values = math.prod(sides)
    size = BYTES * values
    told = f"{size / 1e6:,.3f} MB" if size >= LEAST_MB else f"{size} bytes"
    yield f"{_product(*sides)} = {count(values)} values · {BYTES} bytes = {told} (float32)"


def _field(layer: Layer) -> Iterator[str]:
    if not layer.transposed:
        for name, axis in _axes(layer):
            yield f"{name}1 + {_reach(layer.axis(axis))} = {layer.field(axis)}"
    most = "at most " if layer.transposed else ""
    steps = [Fraction(1, side) if layer.transposed else side for side in layer.stride]
    field = shape((layer.field(0), layer.field(1)))
    yield f"{most}{field} pixels of the input, neighbours {_once(steps)} apart"


def _axes(layer: Layer) -> list[tuple[str, int]]:
    """The start of a line and the axis; one without a name where both are alike."""
    if layer.axis(0) == layer.axis(1) and len(set(layer.output_padding)) == 1:
        return [("", 0)]
    return [(f"{name}: ", axis) for axis, name in enumerate(AXES)]


def _size(layer: Layer, axis: int) -> str:
    size, kernel, stride, padding, dilation = layer.axis(axis)
    if layer.transposed:
        more = layer.output_padding[axis]
        return f"({size} − 1)·{stride} − 2·{padding} + {dilation}·({kernel} − 1) + {more} + 1"
    padded = f" + 2·{padding}" if padding else ""
    kernel_text = f"{kernel}" if dilation == 1 else f"{dilation}·({kernel} − 1) − 1"
    return f"({size}{padded} − {kernel_text})/{stride} + 1"


def _reach(axis: Axis) -> str:
    """D(K − 1), without a dilation of 1."""
    dilation = f"{axis.dilation}·" if axis.dilation > 1 else ""
    return f"{dilation}({axis.kernel} − 1)"


def _product(*factors: object) -> str:
    return "·".join(map(str, factors))


def _share(channels: int, groups: int) -> str:
    return f"({channels}/{groups})" if groups > 1 else f"{channels}"


def _once(sides: Sequence[object]) -> str:
    """2 of (2, 2), 2×1 of (2, 1)."""
    first, second = sides
    return str(first) if first == second else f"{first}×{second}"
