"""A picture of how well each class of masks is met."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnctl.report import picture
from cnnctl.report.format import percent
from cnnctl.report.picture import BLUE, FAINT, INK, LINES

MOST = 60  # classes that are shown, those with the least overlap
LETTERS = 24
LINE = 0.3  # inches


def classes(rows: Sequence[dict[str, Any]], title: str, file: Path) -> None:
    """IoU of each class that occurs, the best on top, with its 95 % interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = [row for row in rows if row["iou"] is not None]
    known = sorted(known, key=lambda row: row["iou"])[:MOST]
    made = Figure(figsize=(6.4, 1.2 + LINE * len(known)), dpi=150, layout="tight")
    FigureCanvasAgg(made)
    axes = picture.framed(made.add_subplot())
    axes.grid(axis="x", color=LINES, lw=0.7, zorder=0)
    axes.barh(range(len(known)), [row["iou"] for row in known], 0.66, color=BLUE, zorder=3)
    for place, row in enumerate(known):
        end = row["iou"]
        if (ends := row["iou_interval"]) is not None:
            axes.plot(ends, (place, place), color=INK, lw=1.2, zorder=4)
            end = max(end, ends[1])
        text = percent(row["iou"])
        axes.text(end + 0.015, place, text, color=INK, fontsize=8, va="center")
    names = [row["class"] for row in known]
    shown = [one if len(one) <= LETTERS else f"{one[:LETTERS]}…" for one in names]
    axes.set_yticks(range(len(known)), shown, fontsize=8.5, parse_math=False)
    axes.set(xlabel="IoU", xlim=(0, 1.14), ylim=(-0.6, len(known) - 0.4))
    axes.set_xticks([place / 5 for place in range(6)])
    axes.set_title(title, loc="left", fontsize=10, color=FAINT, parse_math=False)
    picture.save(lambda: made, file)
