"""What a net costs, on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from cnnctl.report import totals, tree
from cnnctl.report.format import count, shape
from cnnctl.report.table import columns, pairs
from cnnctl.report.totals import mb

MILLION = 1e6
BAR = 8  # columns of the longest share bar
TEXT = ("layer", "kernel", "share")
DROPS = ("share", "jump", "weights", "kept MB", "kernel", "values")


def audited(console: Console, data: dict[str, Any]) -> None:
    """One net: its layers, its totals, a training step, budgets."""
    if data["format"] != "table":
        _written(console, data)
        return
    net = data["nets"][0]
    about = [("net", f"{net['name']}" + (f" · {net['about']}" if net["about"] else ""))]
    pairs(console, [*about, ("image", shape(net["input"]))])
    console.print()
    _layers(console, net, data["detail"])
    console.print()
    totals.totals(console, net)
    for part in (totals.budgets, totals.what_if):
        part(console, net)
    totals.against(console, data.get("against"))
    totals.notes(console, net)
    if "plot" in data:
        console.print(f"picture  {data['plot']}", soft_wrap=True)


def compared(console: Console, data: dict[str, Any]) -> None:
    """Several nets side by side."""
    if data["format"] != "table":
        _written(console, data)
        return
    nets = data["nets"]
    made = nets[0]["memory"]
    peak = f"step MB, batch {made['batch_size']}"
    head = ("net", "image", "parameters", "M macs", "depth", "rows MB", "field", peak)
    rows = [
        [
            net["name"], shape(net["input"]), count(net["totals"]["params"]),
            f"{net['totals']['macs'] / MILLION:,.1f}", count(net["totals"]["weight_layers"]),
            mb(net["totals"]["conventions"]["rows"]["bytes"]), _widest(net),
            mb(net["memory"]["peak"], 0),
        ]
        for net in nets
    ]  # fmt: skip
    columns(console, head, rows, text=("net", "image"), gives=("net",), drops=("image", "rows MB"))
    console.print()
    made = f"{made['precision']}, {made['optimizer']}, {made['accelerator']}"
    totals.dim(console, f"macs and rows MB (activations): of one image · step: {made}")
    for net in nets:
        totals.budgets(console, net)
    totals.against(console, data.get("against"))
    if "plot" in data:
        console.print(f"picture  {data['plot']}", soft_wrap=True)


def _written(console: Console, data: dict[str, Any]) -> None:
    """The formats that are files: as they are, without a terminal's colours."""
    from cnnctl.report import document, formats

    if data["format"] == "json":
        console.file.write(document.success("audit", data) + "\n")
    else:
        console.file.write(formats.text(data["nets"], data["format"]))


def _layers(console: Console, net: dict[str, Any], detail: str) -> None:
    nodes = tree.grow(net["layers"], silent=detail == "all")
    most = max((layer["macs"] for layer in net["layers"]), default=0)
    head = ("layer", "kernel", "output", "values", "MB", "kept MB", "params", "weights", "M macs",
            "field", "jump", "share")  # fmt: skip
    deep = detail != "blocks"
    rows = [
        [label, *(_cells(node.summary(), most) if node.layer or not deep else _block(node))]
        for label, node in tree.lines(nodes, deep=deep)
    ]
    columns(console, head, rows, text=TEXT, gives=("layer",), drops=DROPS)


def _cells(layer: dict[str, Any], most: int) -> list[str]:
    return [
        kernel(layer), shape(layer["output"]),
        "–" if layer["activations"] is None else count(layer["activations"]),
        mb(layer["bytes"]), mb(layer["kept_bytes"], 1),
        count(layer["params"]), count(layer["weights"]), f"{layer['macs'] / MILLION:,.1f}",
        field(layer), "" if layer["jump"] is None else f"{layer['jump']:g}",
        "█" * round(BAR * layer["macs"] / most) if most else "",
    ]  # fmt: skip


def _block(node: tree.Node) -> list[str]:
    """The row of a block whose parts follow: what it gives."""
    layer = node.leaf
    seen = field(layer)
    if node.last is not None:
        seen = f"{seen}–{field(node.last.leaf)}"
    return ["", shape(layer["output"]), *[""] * 6, seen, "", ""]


def kernel(layer: dict[str, Any]) -> str:
    """3×3 /2 p1 d2 g32: kernel, stride, padding, dilation, groups where they are not the usual."""
    if not layer.get("kernel"):
        return ""
    words = [shape(layer["kernel"])]
    for mark, name, usual in (("/", "stride", 1), ("p", "padding", 0), ("d", "dilation", 1)):
        given = layer[name]
        if set(given) != {usual}:
            words.append(mark + (str(given[0]) if len(set(given)) == 1 else shape(given)))
    if layer["groups"] > 1:
        words.append(f"g{layer['groups']}")
    return " ".join([*words, *(["up"] if layer["transposed"] else [])])


def field(layer: dict[str, Any]) -> str:
    """Pixels, `all` for the whole image, * where a window sees nothing new."""
    axes = layer.get("receptive_field_by_axis")
    local = layer["receptive_field"]
    words = [] if local is None else [shape(axes) if axes else str(local)]
    words += ["all"] if layer["sees_all"] else []
    text = "+".join(words) or "n/a"
    return f"{text}*" if layer["sees_enough"] else text


def _widest(net: dict[str, Any]) -> str:
    """The receptive field of the last layer that has one."""
    known = [layer for layer in net["layers"] if layer["receptive_field"] is not None]
    return field({**known[-1], "sees_enough": False}) if len(known) > 1 else "all"
