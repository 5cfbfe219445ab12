"""Pictures of an evaluation: the reliability curve, the confusions, the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnctl.report import picture
from cnnctl.report.format import count, percent
from cnnctl.report.picture import BLUE, EDGE, FAINT, INK, LINES
from cnnctl.report.sheet import Tile, grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORANGE = "#c0703a"
COUNTED = 20  # classes up to which the cells have their counts
NAMED = 60  # classes up to which they are named
LETTERS = 24  # of a class beside a picture


def reliability(calibration: dict[str, Any], title: str, file: Path) -> None:
    """Share of hits by probability, before and after the temperature; images by probability."""
    made = _figure(5.6, 6.2)
    parts = made.add_gridspec(2, 1, height_ratios=(3.4, 1))
    upper = _styled(made.add_subplot(parts[0]))
    lower = _styled(made.add_subplot(parts[1], sharex=upper))
    upper.plot((0, 1), (0, 1), color=FAINT, lw=1, ls=(0, (4, 3)), zorder=2)
    bins = calibration["bins"]
    said, hits = ([one[name] for one in bins] for name in ("confidence", "accuracy"))
    label = f"as it is: error {percent(calibration['ece'])}"
    upper.plot(said, hits, "o-", color=BLUE, lw=1.4, ms=5, label=label, zorder=4)
    after = calibration["after"]
    if after is not None:
        warmth = f"divided by {calibration['temperature']:.3g}: error {percent(after['ece'])}"
        upper.plot(
            [one["confidence"] for one in after["bins"]],
            [one["accuracy"] for one in after["bins"]],
            "o-", color=ORANGE, lw=1, ms=4, mfc="white", label=warmth, zorder=3,
        )  # fmt: skip
    upper.legend(frameon=False, fontsize=8.5, loc="lower right")
    upper.set(ylabel="share that is right", ylim=(-0.02, 1.02))
    upper.set_title(title, loc="left", fontsize=10, color=FAINT, parse_math=False)
    _bars(lower, bins)
    picture.save(lambda: made, file)


def confusion(
    counts: Sequence[Sequence[int]], classes: Sequence[str], file: Path, *, parts: bool = False
) -> None:  # fmt: skip
    """Images by true and predicted class; with `parts` percent of the true class.

    Shades are shares of the true class, by their square root: few mistakes are to be seen, too.
    """
    table = np.array(counts, float)
    shares = np.sqrt(table / np.maximum(table.sum(1, keepdims=True), 1))
    many = len(classes)
    side = 3.2 + min(many, NAMED) * (0.36 if many <= COUNTED else 0.16)
    made = _figure(side, side)
    axes = made.add_subplot()
    axes.imshow(shares, cmap=_shades(), vmin=0, vmax=1, interpolation="nearest")
    axes.set(xlabel="predicted, %" if parts else "predicted", ylabel="true")
    axes.spines[:].set_color(EDGE)
    axes.tick_params(color=EDGE, labelcolor=INK, length=2)
    if many <= NAMED:
        names = [one if len(one) <= LETTERS else f"{one[:LETTERS]}…" for one in classes]
        size = 8.5 if many <= COUNTED else 6
        turned = 90 if max(map(len, names)) > 3 else 0  # noqa: PLR2004 - letters that fit
        axes.set_xticks(range(many), names, rotation=turned, fontsize=size, parse_math=False)
        axes.set_yticks(range(many), names, fontsize=size, parse_math=False)
    if many <= COUNTED:
        for (row, column), value in np.ndenumerate(table):
            if value:
                shade = "white" if shares[row, column] > 0.5 else INK  # noqa: PLR2004 - a dark cell
                text = f"{100 * shares[row, column] ** 2:.0f}" if parts else f"{value:.0f}"
                axes.text(column, row, text, color=shade, fontsize=7.5, ha="center", va="center")
    picture.save(lambda: made, file)


def mistakes(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Images with what they are and what the net was so sure of."""
    tiles = [
        Tile(
            row["pixels"],
            (f"said {row['predicted']}", f"is {row['true']}", percent(row["probability"])),
        )
        for row in rows
    ]
    plural = "s" if len(rows) > 1 else ""
    file.write_bytes(grid(tiles, f"the {len(rows)} most confident mistake{plural}"))


def _bars(axes: Axes, bins: Sequence[dict[str, Any]]) -> None:
    """Images in each bin, on a scale where single images are seen, too."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    width = bins[0]["high"] - bins[0]["low"] if bins[0]["low"] < 1 else 1 / 15
    for one in bins:
        left = min(one["low"], 1 - width / 8)  # exactly 1: a thin bar at the edge
        axes.bar(
            left, one["n"], min(width, 1 - left), align="edge", color=BLUE, alpha=0.6, zorder=3
        )
    axes.set(xlabel="probability of the predicted class", ylabel="images", yscale="log")
    axes.set_ylim(0.5, 2 * max(one["n"] for one in bins))
    axes.set_xlim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: count(int(value)) if value >= 1 else "")
    )
    axes.yaxis.set_minor_formatter(NullFormatter())


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=150, layout="tight")
    FigureCanvasAgg(made)
    return made


def _styled(axes: Axes) -> Axes:
    axes.grid(color=LINES, lw=0.7, zorder=0)
    return picture.framed(axes)


def _shades() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", ["#ffffff", "#cfdcee", BLUE, "#1d3a66"])
