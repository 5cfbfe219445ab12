"""What `cnnctl data check` tells of images with masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from cnnctl.report.format import count
from cnnctl.report.table import columns

Document = Mapping[str, Any]
FEWEST = 1e-4  # shares below are told as less than this


def spread(data: Document) -> str:
    """How many classes there are, and which of them have most and least pixels in train."""
    pixels = data["splits"]["train"]["pixels"]
    told = f"{len(data['classes'])} · "
    whole = sum(pixels.values())
    if not whole:
        return f"{told}no pixel of train counts"
    most, least = (chosen(pixels, key=pixels.get) for chosen in (max, min))
    shares = (f"{name} ({_share(pixels[name], whole)} of train)" for name in (most, least))
    return f"{told}largest {' · smallest '.join(shares)}"


def extent(sizes: Document) -> str:
    """Height × width of the smallest, the largest and the median image."""
    least, middle, most = (
        f"{sizes[name]['height']}×{sizes[name]['width']}" for name in ("min", "median", "max")
    )
    return f"all {least}" if sizes["alike"] else f"{least} to {most} · median {middle}"


def sizes(data: Document) -> str:
    """Height × width; how many images are smaller than the window that training cuts."""
    found = data["sizes"]
    smaller = found["enlarged"]
    told = f"{count(smaller)} smaller, completed by mirroring" if smaller else "none smaller"
    return f"{extent(found)} · data.size={found['wanted']}: {told}"


def pixels(console: Console, data: Document) -> None:
    """A row for each class: its share of the pixels that count, and the images that have any."""
    head = ["class"]
    for name in data["splits"]:
        head += [f"{name} pixels", f"{name} images"]
    rows = [[one, *_cells(data, one)] for one in data["classes"]]
    if any(split["ignored"] for split in data["splits"].values()):
        rows.append(["ignored", *_ignored(data)])
    drops = [*reversed(head[1:])]
    columns(console, head, rows, text=("class",), gives=("class",), drops=drops[:-2])


def _cells(data: Document, name: str) -> Iterator[str]:
    for split in data["splits"].values():
        yield _share(split["pixels"][name], sum(split["pixels"].values()))
        yield count(split["holding"][name])


def _ignored(data: Document) -> Iterator[str]:
    """Of all pixels, those that count included."""
    for split in data["splits"].values():
        yield _share(split["ignored"], sum(split["pixels"].values()) + split["ignored"])
        yield ""


def _share(part: int, whole: int) -> str:
    if not part:
        return "0"
    share = part / whole
    return f"<{FEWEST:.2%}" if share < FEWEST else f"{share:.2%}"
