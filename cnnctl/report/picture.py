"""What all pictures that matplotlib draws have in common: colours, and how a file is written."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg")
INK, FAINT, BLUE = "#23211d", "#8f8a80", "#3f6fb5"
LINES, EDGE = "#e4e0d7", "#c9c4b9"
STYLE: dict[Any, Any] = {"svg.hashsalt": "cnnctl", "font.family": "sans-serif", "text.color": INK}
NO_DATE: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}
POINTS = 72  # of an inch


def check(path: Path) -> None:
    """Raise UsageError unless the ending is that of a picture."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(
            f"--plot takes a file that ends in .png or .svg, got '{path}'",
            f"--plot {path.with_suffix('.png') if path.name else 'nets.png'}",
        )


def save(draw: Callable[[], Figure], path: Path) -> str:
    """Draw into a file, PNG or SVG by its ending, whole or not at all; gives the path.

    The same picture is the same bytes. Raises UsageError for another ending, and for a place that
    cannot be written to.
    """
    from matplotlib import rc_context

    check(path)
    form, file = path.suffix.lower().removeprefix("."), io.BytesIO()
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in another script
        draw().savefig(file, format=form, metadata=NO_DATE[form])
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(file.getvalue())
        beside.replace(path)
    except OSError as wrong:
        beside.unlink(missing_ok=True)
        told = f"cannot write {path}: {wrong.strerror}"
        raise UsageError(told, "give a file in a folder that can be written to") from wrong
    return str(path)


def framed(axes: Axes) -> Axes:
    """Two thin sides instead of four."""
    axes.tick_params(which="both", color=EDGE, labelcolor=INK)
    axes.spines[:].set_color(EDGE)
    axes.spines[["top", "right"]].set_visible(False)
    return axes
