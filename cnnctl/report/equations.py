"""The arithmetic of one layer as on a blackboard: every line an equation with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from cnnctl.audit import convolution
from cnnctl.audit.arithmetic import Exact, Pair
from cnnctl.audit.convolution import AXES, Layer
from cnnctl.report.format import count, number, shape

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


def stack(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Output, receptive field and cost of each layer, and the equations of output and field."""
    rows: list[dict[str, Any]] = []
    before, jump = (1, 1), (1, 1)
    for layer, (field, apart) in zip(layers, convolution.seen(layers), strict=True):
        growth = ", ".join(
            f"{name}{before[axis]} + {_reach(layer, axis)}·{jump[axis]} = {field[axis]}"
            for name, axis in _axes(layer.kernel, layer.dilation, before, jump)
        )
        row = {"layer": len(rows) + 1, "output": [*layer.output, layer.filters]}
        row |= {"exact": layer.exact, "receptive_field": [*field], "jump": [*apart]}
        row |= {"params": layer.params, "macs": layer.macs}
        row["working"] = {"output": sizes(layer), "receptive_field": growth}
        rows.append(row)
        before, jump = field, apart
    return rows


def against_one(layers: Sequence[Layer], field: Pair) -> str:
    """Weights of a stack from C to C channels against those of one kernel of its field."""
    first = layers[0]
    share = "C²" if first.groups == 1 else f"C²/{first.groups}"
    small, large = len(layers) * math.prod(first.kernel), math.prod(field)
    return (
        f"{len(layers)} · {_product(*first.kernel)} {share} = {count(small)} {share} against "
        f"{count(large)} {share} of one {shape(field)}: ratio {number(small / large)}"
    )


def size(layer: Layer, axis: int) -> str:
    """(32 + 2·2 − 5)/1 + 1 = 32, along height or width."""
    given, kernel, stride, padding, dilation = layer.axis(axis)
    out = decimal(layer.out(axis))
    if layer.transposed:
        reach, more = f"{dilation}·({kernel} − 1)", layer.output_padding[axis]
        return f"({given} − 1)·{stride} − 2·{padding} + {reach} + {more} + 1 = {out}"
    padded = f" + 2·{padding}" if padding else ""
    extent = f"{kernel}" if dilation == 1 else f"{dilation}·({kernel} − 1) − 1"
    return f"({given}{padded} − {extent})/{stride} + 1 = {out}"


def sizes(layer: Layer) -> list[str]:
    """The equations of height and width, or the one of both where they are alike."""
    sides = layer.size, layer.kernel, layer.stride, layer.padding, layer.dilation
    return [
        f"{'' if isinstance(layer.out(axis), int) else ILLEGAL}{name}{size(layer, axis)}"
        for name, axis in _axes(*sides, layer.output_padding)
    ]


def decimal(value: Exact) -> str:
    """7/3 -> 2.33, with more digits where 2.33 would look whole; −1 with a minus sign."""
    digits = 2
    while value % 1 and round(value, digits) % 1 == 0:
        digits += 1
    text = f"{float(value):.{digits}f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
    return text.replace("-", "−")


def once(sides: Sequence[object]) -> str:
    """2 of (2, 2), 2×1 of (2, 1)."""
    first, second = sides
    return str(first) if first == second else f"{first}×{second}"


def _layer(layer: Layer) -> Iterator[str]:
    kind = f"{'transposed ' if layer.transposed else ''}{KINDS[layer.pool]}"
    told = [f"{shape(layer.kernel)} {kind}"]
    if not layer.pool:
        told.append(_filters(layer))
    told.append(f"stride {once(layer.stride)}")
    for name, sides, usual in (
        ("padding", layer.padding, (0, 0)),
        ("output padding", layer.output_padding, (0, 0)),
        ("dilation", layer.dilation, (1, 1)),
    ):
        if sides != usual:
            told.append(f"{name} {once(sides)}")
    if layer.groups > 1:
        told.append(f"{layer.groups} groups")
    yield " · ".join(told)
    before, after = (*layer.size, layer.channels), (*layer.output, layer.filters)
    yield f"{shape(before)} → {shape(after)}"


def _padding(layer: Layer, word: str | None) -> Iterator[str]:
    if word == "valid":
        yield "valid: P = 0"
    elif word:
        half = "/2" if word == "same" else ""
        for name, axis in _axes(layer.kernel, layer.dilation):
            numbers = f"{_reach(layer, axis)}{half} = {layer.padding[axis]}"
            yield f"{word}: {name or 'P = '}D(K − 1){half} = {numbers}"


def _output(layer: Layer, fits: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The formula, its numbers, and of fractions what torch makes of them and what would fit."""
    if layer.transposed:
        yield "(N − 1)·S − 2P + D(K − 1) + output padding + 1"
    else:
        padded = " + 2P" if any(layer.padding) else ""
        extent = "K" if layer.dilation == (1, 1) else "D(K − 1) − 1"
        yield f"(N{padded} − {extent})/S + 1"
    yield from sizes(layer)
    if not layer.exact:
        yield f"torch rounds down to {shape(layer.output)}"
        yield f"never seen: {_unseen(layer)}"
    for fit in fits:
        names = [name for name in ("padding", "stride", "input") if fit[name]]
        ways = [f"{name} {' or '.join(map(str, fit[name]))}" for name in names]
        where = "" if fit["axis"] == "both" else f" the {fit['axis']}"
        yield f"what fits{where}: {' · '.join(ways)}"


def _unseen(layer: Layer) -> str:
    """The pixels at the end of each axis that no kernel reaches."""
    lost: list[str] = []
    for axis, name in enumerate(("row", "column")):
        given, _, stride, padding, _ = layer.axis(axis)
        over = given - ((layer.output[axis] - 1) * stride + layer.field(axis) - padding)
        if over > 0:
            lost.append(f"the last {name}" if over == 1 else f"the last {over} {name}s")
    return " and ".join(lost) or "padding only"


def _parameters(layer: Layer) -> Iterator[str]:
    if layer.pool:
        yield "none: a pool learns nothing"
        return
    each = layer.weights // layer.filters
    factors = _product(*layer.kernel, _share(layer.channels, layer.groups))
    bias = f", + 1 bias = {count(each + 1)}" if layer.bias else ""
    yield f"{factors} = {count(each)} weights a filter{bias}"
    yield f"{_filters(layer)} · {count(each + layer.bias)} = {count(layer.params)}"


def _macs(layer: Layer) -> Iterator[str]:
    if layer.pool:
        kept = "the largest" if layer.pool == "max" else "the mean"
        terms = math.prod(layer.kernel)
        yield f"none: {kept} of {_product(*layer.kernel)} = {terms} values is kept"
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
    taken = BYTES * values
    told = f"{taken / 1e6:,.3f} MB" if taken >= LEAST_MB else f"{taken} bytes"
    yield f"{_product(*sides)} = {count(values)} values · {BYTES} bytes = {told} (float32)"


def _field(layer: Layer) -> Iterator[str]:
    if not layer.transposed:
        for name, axis in _axes(layer.kernel, layer.dilation):
            yield f"{name}1 + {_reach(layer, axis)} = {layer.field(axis)}"
    most = "at most " if layer.transposed else ""
    steps = [Fraction(1, side) if layer.transposed else side for side in layer.stride]
    field = shape((layer.field(0), layer.field(1)))
    yield f"{most}{field} pixels of the input, neighbours {once(steps)} apart"


def _axes(*sides: Pair) -> list[tuple[str, int]]:
    """The start of an equation and its axis; one without a name where both are alike."""
    if all(height == width for height, width in sides):
        return [("", 0)]
    return [(f"{name} = ", axis) for axis, name in enumerate(AXES)]


def _reach(layer: Layer, axis: int) -> str:
    """D(K − 1), without a dilation of 1."""
    dilation = f"{layer.dilation[axis]}·" if layer.dilation[axis] > 1 else ""
    return f"{dilation}({layer.kernel[axis]} − 1)"


def _filters(layer: Layer) -> str:
    return f"{layer.filters} filter{'s' if layer.filters > 1 else ''}"


def _product(*factors: object) -> str:
    return "·".join(map(str, factors))


def _share(channels: int, groups: int) -> str:
    return f"({channels}/{groups})" if groups > 1 else f"{channels}"
