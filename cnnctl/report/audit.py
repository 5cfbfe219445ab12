"""What a net costs, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from cnnctl.report import totals, tree
from cnnctl.report.format import count, shape
from cnnctl.report.table import columns, pairs
from cnnctl.report.totals import scaled, unit

BAR = 8  # columns of the longest share bar
COLUMNS = ("layer", "kernel", "output", "values", "bytes", "kept", "params", "weights", "macs",
           "field", "jump", "share")  # fmt: skip
Units = tuple[str, str]  # of bytes and of multiply-adds: "", k or M


def audited(console: Console, data: dict[str, Any]) -> None:
    """One net: its layers, its totals, a training step, budgets."""
    if data["format"] != "table":
        _written(console, data)
        return
    net = data["nets"][0]
    about = [("net", f"{net['name']}" + (f" · {net['about']}" if net["about"] else ""))]
    cut = net["output"] != net["layers"][-1]["output"]  # as maps are that are larger than the image
    gives = [("output", shape(net["output"]))] if cut else []
    pairs(console, [*about, ("image", shape(net["input"])), *gives])
    console.print()
    folded = _layers(console, net, data["detail"])
    console.print()
    totals.totals(console, net)
    _more(console, [net], data)
    totals.notes(console, net, folded=folded)


def compared(console: Console, data: dict[str, Any]) -> None:
    """Several nets side by side."""
    if data["format"] != "table":
        _written(console, data)
        return
    nets = data["nets"]
    rows = [net["totals"]["conventions"]["rows"]["bytes"] for net in nets]
    of = unit(max(rows)), unit(max(net["totals"]["macs"] for net in nets))
    most = unit(max(net["memory"]["peak"] or 0 for net in nets))
    batches = {net["memory"]["batch_size"] for net in nets}
    batch = f", batch {batches.pop()}" if len(batches) == 1 else ""
    head = ("net", "image", "parameters", f"{of[1]} macs", "depth", f"rows {of[0]}B", "field",
            f"step {most}B{batch}")  # fmt: skip
    cells = [
        [
            net["name"], shape(net["input"]), count(net["totals"]["params"]),
            scaled(net["totals"]["macs"], of[1], 1), count(net["totals"]["weight_layers"]),
            scaled(size, of[0]), _widest(net), scaled(net["memory"]["peak"], most, 0),
        ]
        for net, size in zip(nets, rows, strict=True)
    ]  # fmt: skip
    columns(console, head, cells, text=("net", "image"), gives=("net",), drops=("image", head[5]))
    console.print()
    totals.dim(console, f"macs and rows {of[0]}B (activations): of one image")
    totals.steps(console, nets)
    _more(console, nets, data)


def _more(console: Console, nets: Sequence[dict[str, Any]], data: dict[str, Any]) -> None:
    """What is asked for beside the tables."""
    from cnnctl.report import sizes

    totals.budgets(console, nets)
    for net in nets:
        sizes.told(console, net, named=len(nets) > 1)
        totals.what_if(console, net, named=len(nets) > 1)
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


def _layers(console: Console, net: dict[str, Any], detail: str) -> bool:
    """The table of the layers; returns whether equal blocks are folded in it."""
    deep, conventions = detail != "blocks", net["totals"]["conventions"]
    shown = list(tree.lines(tree.grow(net["layers"], silent=detail == "all"), deep=deep))
    of = unit(conventions["rows"]["bytes"]), unit(net["totals"]["macs"])
    most = max(layer["macs"] for layer in net["layers"])
    rows = [
        {"layer": label, **(_block(node) if deep and node.parts else _cells(node, of, most))}
        for label, node in shown
    ]
    heads = {name: name for name in COLUMNS}
    heads |= {"bytes": f"{of[0]}B", "kept": f"kept {of[0]}B", "macs": f"{of[1]} macs"}
    if conventions[net["convention"]]["values"] is None:  # bytes of the batch: those that are kept
        del heads["values"], heads["bytes"]
    last = ("values", "kernel") if deep else ("kernel", "values")
    columns(
        console, tuple(heads.values()), [[row.get(name, "") for name in heads] for row in rows],
        text=("layer", "kernel", "share"), gives=("layer",),
        drops=("share", "jump", "weights", heads["kept"], *last),
    )  # fmt: skip
    return any(node.last for _, node in shown)


def _cells(node: tree.Node, of: Units, most: int) -> dict[str, str]:
    """A layer, or one of equal blocks as a whole."""
    layer = node.summary()
    values, jump = layer["activations"], layer["jump"]
    return {
        "kernel": kernel(layer), "output": shape(layer["output"]),
        "values": "n/a" if values is None else count(values),
        "bytes": scaled(layer["bytes"], of[0]), "kept": scaled(layer["kept_bytes"], of[0], 1),
        "params": count(layer["params"]), "weights": count(layer["weights"]),
        "macs": scaled(layer["macs"], of[1], 1),
        "field": _seen(node), "jump": "" if jump is None else f"{jump:g}",
        "share": "█" * round(BAR * layer["macs"] / most) if most else "",
    }  # fmt: skip


def _block(node: tree.Node) -> dict[str, str]:
    """The row of a block whose parts follow: what it gives."""
    return {"output": shape(node.leaf["output"]), "field": _seen(node)}


def _seen(node: tree.Node) -> str:
    """The field of a layer or block, from the first to the last of equal blocks."""
    first, last = field(node.leaf), field(node.end.leaf)
    return first if node.last is None else f"{first}–{last}"


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
    """The receptive field of the last layer that has a local one beyond a single pixel."""
    known = [layer for layer in net["layers"] if (layer["receptive_field"] or 1) > 1]
    return field({**known[-1], "sees_enough": False}) if known else "all"
