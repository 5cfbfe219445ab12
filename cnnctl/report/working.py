"""The arithmetic of one layer on the terminal: `cnnctl conv`."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from cnnctl.report.equations import ILLEGAL, once
from cnnctl.report.format import count, shape
from cnnctl.report.table import columns, pairs


def worked(console: Console, data: dict[str, Any]) -> None:
    """The equations and, below them, the stack if there is one, or else the alternatives."""
    rows: list[tuple[str, str]] = []
    told = ""
    for row in data["working"]:
        rows.append(("" if row["step"] == told else row["step"], row["line"]))
        told = row["step"]
    pairs(console, rows)
    if "stack" in data:
        console.print()
        _stack(console, data["stack"])
    elif len(data["alternatives"]) > 1:
        console.print()
        _alternatives(console, data["alternatives"])


def _alternatives(console: Console, rows: list[dict[str, Any]]) -> None:
    head = ("alternatives", "parameters", "multiply-adds", "ratio", "in parts")
    cells = [
        [
            row["name"], count(row["params"]), count(row["macs"]), f"{row['ratio']:.3g}",
            " + ".join(count(macs) for macs in row["parts"]),
        ]
        for row in rows
    ]  # fmt: skip
    columns(console, head, cells, text=(head[0], head[-1]), gives=head[-1:])


def _stack(console: Console, data: dict[str, Any]) -> None:
    """The layers one by one; sizes that are fractions, and the costs, below them."""
    head = ("layer", "output", "receptive field", "jump", "parameters", "multiply-adds")
    cells = [
        [
            str(row["layer"]), shape(row["output"]), row["working"]["receptive_field"],
            once(row["jump"]), count(row["params"]), count(row["macs"]),
        ]
        for row in data["rows"]
    ]  # fmt: skip
    if not data["params"]:  # a pool
        head, cells = head[:-2], [row[:-2] for row in cells]
    columns(console, head, cells, text=head[1:3], gives=head[2:3], drops=head[:3:-1])
    rows = [
        (f"layer {row['layer']}", equation)
        for row in data["rows"]
        for equation in row["working"]["output"]
        if ILLEGAL in equation
    ]
    if data["params"]:
        rows += [("parameters", count(data["params"])), ("C → C", data["working"])]
    if rows:
        console.print()
        pairs(console, rows)
