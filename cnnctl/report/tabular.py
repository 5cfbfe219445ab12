"""The layers of nets as comma-separated values and as Markdown."""

from __future__ import annotations

import csv as writer
import io
from collections.abc import Iterable, Sequence
from typing import Any

from cnnctl.report import figures, sizes
from cnnctl.report.format import count, shape

COLUMNS = {  # of a row of CSV: its name, and the key of the layer
    "name": "name", "type": "type", "kind": "kind", "call": "call", "kernel": "kernel",
    "stride": "stride", "padding": "padding", "dilation": "dilation", "groups": "groups",
    "transposed": "transposed", "output": "output", "values": "values",
    "activation_values": "activations", "activation_bytes": "bytes", "kept_bytes": "kept_bytes",
    "params": "params", "weights": "weights", "macs": "macs",
    "receptive_field_px": "receptive_field",
    "receptive_field_by_axis_px": "receptive_field_by_axis", "jump_px": "jump",
    "sees_all": "sees_all", "sees_enough": "sees_enough",
}  # fmt: skip


def csv(nets: Sequence[dict[str, Any]]) -> str:
    """One row per layer: `net`, what the memory columns count, and every column of the layer.

    A cell is empty where a layer has no such thing, n/a where the figure is not available;
    sizes read 64x224x224. `kept_bytes` are those of `batch_size` images.
    """
    file = io.StringIO()
    rows = writer.writer(file, lineterminator="\n")
    rows.writerow(("net", "convention", "batch_size", *COLUMNS))
    for net in nets:
        of = (net["name"], net["convention"], net["memory"]["batch_size"])
        for layer in net["layers"]:
            rows.writerow((*of, *(_plain(layer, key) for key in COLUMNS.values())))
    return file.getvalue()


def md(nets: Sequence[dict[str, Any]]) -> str:
    """A section for each net: its layers, its totals, what the columns mean."""
    parts = [_comparison(nets)] if len(nets) > 1 else []
    return "\n".join([*parts, *map(_section, nets)])


def _plain(layer: dict[str, Any], key: str) -> str:
    if key not in layer:
        return ""
    value = layer[key]
    if value is None:
        return figures.NOT_AVAILABLE
    if isinstance(value, list):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _section(net: dict[str, Any]) -> str:
    about = f"{net['about']} · " if net["about"] else ""
    of = figures.unit(net)
    head = ["layer", "type", *(" ".join(words).strip() for words in figures.heads(net).values())]
    layers = [
        [_called(layer), layer["type"], *figures.cells(layer, of).values()]
        for layer in net["layers"]
    ]
    text = {"layer", "type", "window h×w", "output c×h×w"}
    facts = [*map(list, figures.facts(net)), ["peak of the step", "", figures.where(net)]]
    tables = [
        _table(head, layers, text),
        _table(("total", "figure", "of"), facts, {"total", "of"}),
        *(
            _table(
                *made, {"memory", "counts", "budget", "precision", "optimizer", "size", "output"}
            )
            for made in (
                figures.conventions(net),
                figures.budget(net),
                figures.what_if(net),
                sizes.table(net),
            )
            if made[1]
        ),
    ]
    parts = [f"## {_safe(net['name'])}", f"{_safe(about)}image {shape(net['input'])}", *tables]
    notes = [*figures.notes(net), *map(_safe, sizes.refusals(net))]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in notes)]) + "\n"


def _comparison(nets: Iterable[dict[str, Any]]) -> str:
    head = ["net", "image", "parameters", "multiply-adds per image", "weight layers",
            "activations of one image", "field", "training step at the peak", "step"]  # fmt: skip
    rows = [
        [
            net["name"], shape(net["input"]), count(net["totals"]["params"]),
            count(net["totals"]["macs"]), count(net["totals"]["weight_layers"]),
            figures.decimal(net["totals"]["conventions"]["rows"]["bytes"]), figures.sees(net),
            figures.decimal(net["memory"]["peak"]), figures.setting(net),
        ]
        for net in nets
    ]  # fmt: skip
    return _table(head, rows, {"net", "image", "step"}) + "\n"


def _called(layer: dict[str, Any]) -> str:
    """The name; from the second call of a layer on, which call it is."""
    return f"{layer['name']} (call {layer['call'] + 1})" if layer["call"] else layer["name"]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], text: set[str]) -> str:
    """A table that reads well as text too; columns named in `text` stand left, numbers right."""
    every = [[_safe(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    left = [name in text for name in head]
    lines = [
        [cell.ljust(width) if side else cell.rjust(width)
         for cell, width, side in zip(row, widths, left, strict=True)]
        for row in every
    ]  # fmt: skip
    rule = [
        "-" * width if side else "-" * (width - 1) + ":"
        for width, side in zip(widths, left, strict=True)
    ]
    lines.insert(1, rule)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _safe(text: str) -> str:
    """Text that ends no cell, starts no emphasis."""
    for mark in ("\\", "|", "*", "<", "`"):
        text = text.replace(mark, "\\" + mark)
    return text
