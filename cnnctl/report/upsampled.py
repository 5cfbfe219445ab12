"""The ways up in words: what each is, and how far it is from the image."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from cnnctl.report.format import percent
from cnnctl.report.table import columns, pairs


def words(by: int, size: int) -> dict[str, str]:
    """What each panel is, for an image of `size` pixels a side."""
    return {
        "image": f"{size}×{size}",
        "max-pooled": f"{size // by}×{size // by}, which all others start from",
        "nearest": f"each value {by}×{by} times",
        "bilinear": "lines between 2×2 neighbours",
        "bicubic": "cubics through 4×4 neighbours",
        "transposed": f"{2 * by}×{2 * by} bilinear kernel: FCN's start",
        "uneven": f"transposed, {by + 1}×{by + 1} of ones, stride {by}",
        "unpool": "maxima at their places, 0 elsewhere",
    }


def upsampled(console: Console, data: dict[str, Any]) -> None:
    """How far each way is from the image, and where the picture is."""
    rows = [[row["name"], row["about"], percent(row["rmse"])] for row in data["ways"]]
    head = ("way up", "", "RMS error")
    columns(console, head, rows, text=head[:2], gives=("",))
    console.print()
    pairs(console, [("picture", data["file"])], ("picture",))
