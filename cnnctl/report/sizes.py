"""What a net costs on images of several sizes, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from cnnctl.report import figures
from cnnctl.report.figures import NOT_AVAILABLE, Table
from cnnctl.report.format import count, shape
from cnnctl.report.table import columns
from cnnctl.report.totals import scaled, unit


def told(console: Console, net: Mapping[str, Any], *, named: bool) -> None:
    """On a terminal, where it is asked for: a line for each size, and why a net refuses one."""
    if "sizes" not in net:
        return
    console.print()
    if named:
        console.print(Text(net["name"], style="bold underline"))
    made = _made(net)
    if made:
        macs, rows, step = (
            unit(max(one[name] or 0 for one in made)) for name in ("macs", "bytes", "peak")
        )
        batch = f"step {step}B, batch {net['memory']['batch_size']}"
        head = ("image", "output", f"{macs} macs", "values", f"{rows}B", batch, "field",
                "of the side")  # fmt: skip
        cells = [
            [
                shape(one["input"]), shape(one["output"]), scaled(one["macs"], macs, 1),
                count(one["activations"]), scaled(one["bytes"], rows),
                scaled(one["peak"], step, 0), *_field(one),
            ]
            for one in made
        ]  # fmt: skip
        columns(console, head, cells, text=("image", "output"), drops=("values", head[4]))
    for line in refusals(net):
        console.print(Text(line, style="yellow"), soft_wrap=True)


def table(net: Mapping[str, Any]) -> Table:
    """As the written formats have it."""
    head = ("size", "output", "multiply-adds", "activations", "memory", "peak of a step",
            "field", "of the side")  # fmt: skip
    return head, [
        [
            shape(one["input"]), shape(one["output"]), count(one["macs"]),
            count(one["activations"]), figures.decimal(one["bytes"]),
            figures.decimal(one["peak"]), *_field(one),
        ]
        for one in _made(net)
    ]  # fmt: skip


def refusals(net: Mapping[str, Any]) -> list[str]:
    """Sizes that the net does not take, or cannot be trained on."""
    return [
        f"no {'step' if one['macs'] else 'image'} of {one['side']}x{one['side']}: {one['refused']}"
        for one in net.get("sizes", ())
        if one["refused"]
    ]


def _made(net: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in net.get("sizes", ()) if one["input"] is not None]


def _field(one: Mapping[str, Any]) -> tuple[str, str]:
    """The receptive field in pixels, and as a share of the side of the image."""
    if one["receptive_field"] is None:
        return ("all", "all") if one["sees_all"] else (NOT_AVAILABLE, NOT_AVAILABLE)
    more = "+all" if one["sees_all"] else ""
    return f"{one['receptive_field']}{more}", f"{100 * one['share']:.0f} %"
