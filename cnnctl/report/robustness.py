"""Accuracy under changes by degrees: tables, and a picture with a panel for each kind."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cnnctl.report import picture
from cnnctl.report.format import count, percent
from cnnctl.report.picture import BLUE, FAINT, INK, LINES
from cnnctl.report.table import columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4  # panels in a row, if there are more than that
WIDE, TALL, RIM = 3.4, 2.7, 0.6  # inches of a panel, and above them all
LEAST = 5.6  # inches that the title needs
INTERVAL = "95 % interval"


def robustness(console: Console, data: dict[str, Any]) -> None:
    """A table for each kind: its strengths, and the accuracy that is left."""
    first = next(iter(data["kinds"].values()))["points"][0]
    unchanged = f"{percent(first['top1'])} ({INTERVAL} {_interval(first)})"
    console.print(f"top-1 of {count(data['n'])} unchanged images: {unchanged}", soft_wrap=True)
    for kind, one in data["kinds"].items():
        points = [point for point in one["points"] if point["strength"]]
        rows = [
            ["top-1", *(percent(point["top1"]) for point in points)],
            [INTERVAL, *(_interval(point) for point in points)],
        ]
        corner = f"{kind}, {one['unit']}"
        console.print()
        head = (corner, *(f"{point['strength']:g}" for point in points))
        columns(console, head, rows, text=(corner,), gives=(corner,), drops=head[1::2])


def plot(data: dict[str, Any], path: Path) -> str:
    """Draw accuracy against strength and give the path.

    Raises what `picture.save` raises.
    """
    return picture.save(lambda: figure(data), path)


def figure(data: dict[str, Any]) -> Figure:
    """The picture: a panel for each kind, all with one scale of accuracy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    kinds = data["kinds"]
    across = len(kinds) if len(kinds) <= ACROSS else ceil(len(kinds) / ceil(len(kinds) / ACROSS))
    down = ceil(len(kinds) / across)
    size = (max(WIDE * across, LEAST), TALL * down + RIM)
    made = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(made)
    panels = made.subplots(down, across, sharey=True, squeeze=False).flatten()
    for axes, (kind, one) in zip(panels, kinds.items(), strict=False):
        _panel(axes, kind, one)
    for axes in panels[len(kinds) :]:
        axes.remove()
    panels[0].set_ylim(0, 1.03)
    panels[0].yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    text = f"Top-1 of {count(data['n'])} images against the strength of a change"
    made.suptitle(f"{text}, with 95 % intervals", x=0.01, ha="left", fontsize=10, color=FAINT)
    return made


def _panel(axes: Axes, kind: str, one: dict[str, Any]) -> None:
    """Accuracy against strength, its interval as a band, and what it was without the change."""
    points = one["points"]
    strengths, top1 = zip(*((point["strength"], point["top1"]) for point in points), strict=True)
    low, high = zip(*(point["interval"] for point in points), strict=True)
    axes.axhline(top1[0], color=FAINT, lw=0.7, ls=(0, (4, 3)), zorder=1)
    axes.fill_between(strengths, low, high, color=BLUE, alpha=0.18, lw=0, zorder=2)
    axes.plot(strengths, top1, color=BLUE, lw=1.6, marker="o", ms=3.6, zorder=3, clip_on=False)
    axes.set_title(kind, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(one["unit"], fontsize=9)
    axes.set_xlim(0, strengths[-1])
    axes.grid(color=LINES, lw=0.7, zorder=0)
    picture.framed(axes).tick_params(labelsize=8)


def _interval(point: dict[str, Any]) -> str:
    """[0.951, 0.986] -> 95–99 %."""
    low, high = point["interval"]
    return f"{100 * low:.0f}–{100 * high:.0f} %"
