"""Audits as one HTML file that needs no other, and the drawing of a net as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnnctl import __version__
from cnnctl.report import figures, sizes
from cnnctl.report.audit import field as receptive
from cnnctl.report.chain import leaves
from cnnctl.report.drawing import draw
from cnnctl.report.format import count, shape
from cnnctl.report.tree import Layer, Node, grow, label

if TYPE_CHECKING:
    from jinja2 import Environment

SHARED = ("bytes", "params", "macs")  # columns with a bar


@dataclass(frozen=True)
class Row:
    """A layer, or a block with its parts; `shares` are the widths of its bars, 0 to 1."""

    name: str
    type: str
    path: str
    kind: str
    cells: dict[str, str]
    shares: dict[str, float]
    times: int = 1
    parts: list[list[Row]] = field(default_factory=list)
    open: bool = False


def html(nets: Sequence[dict[str, Any]]) -> str:
    """A page with a section for each net; several are compared in a table above them."""
    names = [net["name"] for net in nets]
    title = names[0] if len(nets) == 1 else f"{len(nets)} nets compared"
    made = environment()
    return made.get_template("page.html").render(
        title=title, version=__version__, nets=[_view(net) for net in nets],
        compared=list(_compared(nets)) if len(nets) > 1 else [],
        same=len({figures.setting(net) for net in nets}) == 1,
        style=made.get_template("page.css").render(),
    ) + "\n"  # fmt: skip


def svg(net: dict[str, Any]) -> str:
    """The drawing alone, as a file."""
    made = environment()
    drawn = made.get_template("drawing.svg").render(
        drawing=draw(net, titled=True),
        title=_title(net),
        style=made.get_template("drawing.css").render(),
    )
    return drawn + "\n"


def environment() -> Environment:
    """The templates of this folder; a name that is not given is an error, not a gap."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader("cnnctl.report"),
        autoescape=select_autoescape(("html", "svg")),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def _title(net: dict[str, Any]) -> str:
    return (
        f"{net['name']}: {count(net['totals']['params'])} parameters, image {shape(net['input'])}"
    )


def _view(net: dict[str, Any]) -> dict[str, Any]:
    """What the template shows of one net."""
    return {
        "name": net["name"], "about": net["about"] or "", "image": shape(net["input"]),
        "convention": net["convention"], "facts": list(figures.facts(net)),
        "heads": figures.heads(net), "rows": _runs(list(_tree(net))),
        "training": [_row(_only(layer), _only(layer), net, {}) for layer in net["training_layers"]],
        "notes": figures.notes(net), "memory": list(_memory(net)), "where": figures.where(net),
        "peak": figures.both(net["memory"]["peak"]), "setting": figures.setting(net),
        "conventions": figures.conventions(net), "budget": figures.budget(net),
        "what_if": figures.what_if(net), "sizes": sizes.table(net),
        "refused": sizes.refusals(net),
        "drawing": draw(net, titled=False), "title": _title(net),
    }  # fmt: skip


def _tree(net: dict[str, Any]) -> Iterator[Row]:
    """The folded tree; the longest bar of each column is that of its largest row."""
    nodes = grow(net["layers"], silent=True)
    most = {
        key: max((node.times * (node.total(key) or 0) for node in nodes), default=0)
        for key in SHARED
    }
    total = sum(_size(node) for node in nodes)
    for node in nodes:
        whole = node.times == 1 and 2 * _size(node) > total
        yield _row(node, node.last or node, net, most, unfolded=whole)


def _size(node: Node) -> int:
    return node.times * sum(times for _, times in leaves(node))


def _only(layer: Layer) -> Node:
    return Node(layer["name"], layer)


def _row(
    node: Node, end: Node, net: dict[str, Any], most: dict[str, int], *, unfolded: bool = False
) -> Row:
    """A node that stands first and `end` that stands last of all equal ones, all counted.

    Inside of a block of several, the figures are of one; fields are from the first to the last.
    """
    layer = node.summary()
    cells = dict(layer)
    for key in ("params", "macs", "activations", "bytes", "kept_bytes"):
        cells[key] = None if layer[key] is None else node.times * layer[key]
    shown = figures.cells(cells, figures.unit(net))
    first, last = receptive(layer), receptive(end.summary())
    if node.layer is not None and first != last:
        shown["field"] = f"{first.removesuffix('*')}–{last}"
    elif node.layer is None:
        shown["field"] = last.removesuffix("*")
    parts = [
        _row(part, other.last or other, net, most, unfolded=True)
        for part, other in zip(node.parts, end.parts, strict=True)
    ]
    return Row(
        label(node) if node.times == 1 else label(node).rpartition(" ")[0],
        _type(node), layer["name"] if node.layer else "", layer["kind"] if node.layer else "block",
        shown, {key: (cells[key] or 0) / most[key] if most.get(key) else 0 for key in SHARED},
        node.times, _runs(parts), unfolded,
    )  # fmt: skip


def _type(node: Node) -> str:
    if node.layer is None:
        found = sum(times for _, times in leaves(node))
        return f"{found} layer{'' if found == 1 else 's'}"
    call = node.layer["call"]
    return f"{node.layer['type']}, call {call + 1}" if call else node.layer["type"]


def _runs(rows: list[Row]) -> list[list[Row]]:
    """Layers that follow each other are one table; each block stands alone."""
    found: list[list[Row]] = []
    for row in rows:
        if found and not row.parts and not found[-1][0].parts:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _memory(net: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is alive at the peak of a training step, by what it is."""
    peak, alive = net["memory"]["peak"], net["memory"]["at_peak"] or {}
    for name, size in alive.items():
        share = size / peak
        yield {
            "key": name, "name": name.replace("_", " "), "decimal": figures.decimal(size),
            "binary": figures.binary(size), "share": share, "percent": f"{100 * share:.1f} %",
        }  # fmt: skip


def _compared(nets: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each net; bars against the largest of all."""
    figure = {
        "params": lambda net: net["totals"]["params"],
        "macs": lambda net: net["totals"]["macs"],
        "rows": lambda net: net["totals"]["conventions"]["rows"]["bytes"],
        "peak": lambda net: net["memory"]["peak"] or 0,
    }
    most = {key: max(1, *map(of, nets)) for key, of in figure.items()}
    for net in nets:
        yield {
            "name": net["name"], "image": shape(net["input"]), "sees": figures.sees(net),
            "depth": count(net["totals"]["weight_layers"]), "setting": figures.setting(net),
            "params": count(net["totals"]["params"]), "macs": count(net["totals"]["macs"]),
            "rows": figures.decimal(net["totals"]["conventions"]["rows"]["bytes"]),
            "peak": figures.decimal(net["memory"]["peak"]),
            "shares": {key: of(net) / most[key] for key, of in figure.items()},
        }  # fmt: skip
