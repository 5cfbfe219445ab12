"""The lecture's two charts of many nets: accuracy or parameters against multiply-adds, and time.

The first is that of Canziani, Paszke, Culurciello 2016 (An analysis of deep neural network models
for practical applications, figure 2): top-1 against operations, with parameters as areas. Where
top-1 is not known of all nets on the same images, parameters stand in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnctl.errors import UsageError
from cnnctl.report import picture, scatter
from cnnctl.report.bench import ms
from cnnctl.report.format import count
from cnnctl.report.labels import Layout, Point, around
from cnnctl.report.picture import BLUE, FAINT, INK, LINES, POINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, LOW, BAR = 13.5, 5.6, 0.24  # inches: both charts, the least height, a bar
LARGEST = 900  # points²: the area of the largest bubble
SMALLEST = 12
STEPS = (1e6, 10e6, 100e6)  # parameters: of the bubbles in the key


class Mark(NamedTuple):
    """A bubble: its place on the axes and its area in points²."""

    name: str
    x: float
    y: float
    area: float


def save(data: dict[str, Any], path: Path) -> str:
    """Draw both charts into one file and give its path.

    Raises UsageError for nets without figures, and what `picture.save` raises.
    """
    picture.check(path)
    for net in data["nets"]:
        if not net["params"] or not net["macs"]:
            text = f"{net['name']} has no parameters or multiply-adds that are known"
            raise UsageError(text, f"leave out {net['name']}, or --plot")
    return picture.save(lambda: figure(data), path)


def accuracy(nets: Sequence[dict[str, Any]]) -> str | None:
    """Of which images the top-1 of all nets is; None if it is not known, or not of the same."""
    of = {net["top1_of"] for net in nets}
    return of.pop() if len(of) == 1 else None


def figure(data: dict[str, Any]) -> Figure:
    """Both charts side by side, of the nets that could be measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    nets = [net for net in data["nets"] if net["rows"]]
    made = Figure(figsize=(WIDE, max(LOW, BAR * len(nets) + 1.4)), dpi=150, layout="tight")
    FigureCanvasAgg(made)
    costs, times = made.subplots(1, 2, width_ratios=(3, 2))
    marks = _costs(costs, nets)
    _times(times, nets, data)
    for axes in (costs, times):
        picture.framed(axes)
    made.draw_without_rendering()
    made.set_layout_engine("none")  # from here on nothing moves
    costs.autoscale(enable=False)
    _label(made, costs, marks)
    return made


def _costs(axes: Axes, nets: Sequence[dict[str, Any]]) -> list[Mark]:
    """Top-1, or parameters, against multiply-adds; the area of a bubble is that of parameters."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    of = accuracy(nets)
    most = max(net["params"] for net in nets)
    marks = [
        Mark(
            net["name"], net["macs"], 100 * net["top1"] if of else net["params"],
            max(SMALLEST, LARGEST * net["params"] / most) if of else 34,
        )
        for net in nets
    ]  # fmt: skip
    axes.scatter(
        [mark.x for mark in marks], [mark.y for mark in marks], s=[mark.area for mark in marks],
        color=BLUE, alpha=0.45 if of else 0.85, zorder=3,
        edgecolors=BLUE, linewidths=1 if of else 0,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("multiply-adds per image")
    scaled = [axes.xaxis] if of else [axes.xaxis, axes.yaxis]
    if of:
        axes.set_ylabel("top-1 accuracy, %")
        _key(axes, most)
    else:
        axes.set_ylabel("parameters")
        axes.set_yscale("log")
    for axis in scaled:
        axis.set_major_formatter(FuncFormatter(lambda value, _: scatter.prefixed(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.margins(0.12)
    axes.grid(color=LINES, lw=0.7, zorder=0)
    title = f"top-1: {of}" if of else "parameters against multiply-adds"
    axes.set_title(title, loc="left", fontsize=10, color=FAINT)
    return marks


def _key(axes: Axes, most: int) -> None:
    """Which area is how many parameters."""
    steps = [step for step in STEPS if SMALLEST <= LARGEST * step / most <= LARGEST]
    handles = [
        axes.scatter([], [], s=LARGEST * step / most, color=BLUE, alpha=0.45) for step in steps
    ]
    if handles:
        axes.legend(
            handles, [scatter.prefixed(step) for step in steps], title="parameters",
            loc="lower right", frameon=False, labelspacing=1.6, borderpad=1.2, handletextpad=1.2,
            fontsize=8.5, title_fontsize=8.5,
        )  # fmt: skip


def _times(axes: Axes, nets: Sequence[dict[str, Any]], data: dict[str, Any]) -> None:
    """A bar for the median of each net, the fastest on top, and a line to the 95th percentile."""
    first = nets[0]["rows"][0]
    batch = first["batch"]
    rows = [net["rows"][0] for net in nets]
    middle = [1e3 * row["median"] / batch for row in rows]
    far = [1e3 * row["p95"] / batch for row in rows]
    places = range(len(nets))
    axes.barh(places, middle, color=BLUE, alpha=0.85, height=0.62, zorder=3)
    axes.hlines(places, middle, far, color=INK, lw=1, zorder=4)
    edge = max(*middle, *far)
    for place, one, end in zip(places, middle, far, strict=True):
        axes.text(max(one, end) + 0.015 * edge, place, ms(one / 1e3), va="center", fontsize=8)
    axes.set_xlim(0, 1.14 * edge)
    axes.set_yticks(places, [net["name"] for net in nets], fontsize=8.5, parse_math=False)
    axes.invert_yaxis()
    axes.margins(y=0.02)
    axes.grid(color=LINES, lw=0.7, zorder=0, axis="x")
    axes.set_xlabel("milliseconds per image: median; line: 95th percentile")
    axes.set_title(_how(data, first), loc="left", fontsize=10, color=FAINT)


def _how(data: dict[str, Any], row: dict[str, Any]) -> str:
    threads = f"{data['threads']} thread{'s' if data['threads'] > 1 else ''}"
    where = threads if data["device"] == "cpu" else data["device_name"]
    images = "one image" if row["batch"] == 1 else f"{count(row['batch'])} images"
    return f"forward pass of {images}\n{row['engine']}, {data['precision']}, {where}"


def _label(figure: Figure, axes: Axes, marks: Sequence[Mark]) -> None:
    """Name each bubble at the nearest free place around it; the large ones come last."""
    from matplotlib.patheffects import withStroke

    renderer = figure.canvas.get_renderer()  # pyright: ignore[reportAttributeAccessIssue] - Agg's
    scale = figure.dpi / POINTS
    centres = {mark.name: axes.transData.transform((mark.x, mark.y)) for mark in marks}
    frame = axes.get_window_extent(renderer)
    half = {mark.name: (sqrt(mark.area / pi)) * scale for mark in marks}
    boxes = [around(tuple(centres[one.name]), (0, 0), half[one.name]) for one in marks]
    key = axes.get_legend()
    if key is not None:
        told = key.get_window_extent(renderer)
        boxes.append((told.x0, told.y0, told.x1, told.y1))
    layout = Layout((frame.x0, frame.y0, frame.x1, frame.y1), scale, boxes)
    for mark in sorted(marks, key=lambda one: one.area):
        centre: Point = tuple(centres[mark.name])
        text = axes.annotate(
            mark.name, (mark.x, mark.y), (0, 0), zorder=5, textcoords="offset points",
            fontsize=8.5 if len(marks) <= scatter.FEW else 7, ha="center", va="center",
            parse_math=False, path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip
        extent = text.get_window_extent(renderer)
        box, line = layout.place(centre, (extent.width / 2, extent.height / 2))
        text.set_position((
            ((box[0] + box[2]) / 2 - centre[0]) / scale, ((box[1] + box[3]) / 2 - centre[1]) / scale
        ))  # fmt: skip
        if line is not None:
            ends = axes.transData.inverted().transform(line)
            axes.plot(*zip(*ends, strict=True), color=FAINT, lw=0.5, zorder=2)
