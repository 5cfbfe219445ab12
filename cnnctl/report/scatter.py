"""A picture of nets side by side: what they compute against what they remember."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import dist
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl.errors import UsageError
from cnnctl.report import picture
from cnnctl.report.labels import Layout, Point, around
from cnnctl.report.picture import BLUE, FAINT, LINES, POINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 24  # places: with more, the picture is larger
SMALL, LARGE = (8.4, 5.6), (16.0, 11.0)  # inches
Place = tuple[int, int]  # multiply-adds, parameters
MARK = 4  # points: half of a mark, and some air
CROWD = 14  # marks within so many times that distance are a crowd


def save(nets: Sequence[dict[str, Any]], path: Path) -> str:
    """Draw multiply-adds against parameters, both on logarithmic axes, and give the path.

    Raises UsageError for a net that has no place on such axes, and what `picture.save` raises.
    """
    picture.check(path)
    for net in nets:
        for key, word in (("params", "parameters"), ("macs", "multiply-adds")):
            if not net["totals"][key]:
                told = f"{net['name']} has no {word}: it has no place in the picture"
                raise UsageError(told, f"leave out {net['name']}, or --plot")
    return picture.save(lambda: figure(nets), path)


def places(nets: Iterable[dict[str, Any]]) -> dict[Place, list[str]]:
    """Multiply-adds and parameters, with the names of the nets that have them."""
    found: dict[Place, list[str]] = {}
    for net in nets:
        found.setdefault((net["totals"]["macs"], net["totals"]["params"]), []).append(net["name"])
    return found


def figure(nets: Sequence[dict[str, Any]]) -> Figure:
    """The picture: a mark for each place, and the names beside them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = places(nets)
    many = len(found) > FEW
    made = Figure(figsize=LARGE if many else SMALL, dpi=150, layout="tight")
    FigureCanvasAgg(made)
    axes = _axes(made, nets)
    axes.scatter(*zip(*found, strict=True), s=34, color=BLUE, alpha=0.85, zorder=3, lw=0)
    axes.margins(0.06 if many else 0.12)
    made.draw_without_rendering()
    made.set_layout_engine("none")  # from here on nothing moves
    axes.autoscale(enable=False)
    _label(made, axes, found)
    return made


def _axes(figure: Figure, nets: Sequence[dict[str, Any]]) -> Axes:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes = figure.add_subplot()
    images = {tuple(net["input"]) for net in nets}
    one = f", {'×'.join(map(str, *images))}" if len(images) == 1 else " of each net's own size"
    axes.set_title(f"One image{one}", loc="left", fontsize=10, color=FAINT)
    axes.set_xlabel("multiply-adds per image")
    axes.set_ylabel("parameters")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: prefixed(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color=LINES, lw=0.7, zorder=0)
    return picture.framed(axes)


def prefixed(value: float) -> str:
    """1e9 -> 1 G, 2e7 -> 20 M, 300000 -> 300 k."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {prefix}"
    return f"{value:g}"


def _label(figure: Figure, axes: Axes, found: dict[Place, list[str]]) -> None:
    """Name each mark at the nearest free place around it; a name further off gets a line."""
    from matplotlib.patheffects import withStroke

    renderer = figure.canvas.get_renderer()  # pyright: ignore[reportAttributeAccessIssue] - Agg's
    scale = figure.dpi / POINTS
    marks = {place: tuple(axes.transData.transform(place)) for place in found}
    told = {
        place: axes.annotate(
            "\n".join(", ".join(found[one]) for one in group), place, (0, 0), zorder=4,
            textcoords="offset points", fontsize=8.5 if len(found) <= FEW else 7, linespacing=1.1,
            ha="center", va="center", parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
        for place, group in together(marks, MARK * scale).items()
    }  # fmt: skip
    frame = axes.get_window_extent(renderer)
    layout = Layout(
        (frame.x0, frame.y0, frame.x1, frame.y1), scale,
        [around(mark, (0, 0), MARK * scale) for mark in marks.values()],
    )  # fmt: skip
    for place, text in told.items():
        extent, mark = text.get_window_extent(renderer), marks[place]
        box, line = layout.place(mark, (extent.width / 2, extent.height / 2))
        text.set_position(
            (((box[0] + box[2]) / 2 - mark[0]) / scale, ((box[1] + box[3]) / 2 - mark[1]) / scale)
        )
        if line is not None:
            ends = axes.transData.inverted().transform(line)
            axes.plot(*zip(*ends, strict=True), color=FAINT, lw=0.5, zorder=2)


def together(marks: Mapping[Place, Point], near: float) -> dict[Place, list[Place]]:
    """Marks on top of each other are named together; those in a crowd come first.

    They have the least choice.
    """
    groups: dict[Place, list[Place]] = {}
    for place in marks:
        close = (one for one in groups if dist(marks[one], marks[place]) < near)
        groups.setdefault(next(close, place), []).append(place)
    crowd = {
        place: sum(dist(marks[place], mark) < CROWD * near for mark in marks.values())
        for place in groups
    }
    return {place: groups[place] for place in sorted(groups, key=crowd.__getitem__, reverse=True)}
