"""What `cnnctl data check` and `show` tell of images with masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rich.console import Console

from cnnctl.config.masks import IGNORE
from cnnctl.report import mask_files, palette
from cnnctl.report.format import count
from cnnctl.report.sheet import Mark, Row
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


def sheet(rows: list[Any], classes: tuple[str, ...]) -> tuple[list[str], list[Row], list[Mark]]:
    """Heads, rows and legend of a contact sheet: each image, and beside it its mask over it.

    `rows` are those of data.preview_masks.
    """
    heads = ["whole", "mask"]
    for epoch in range(len(rows[0].images) - 1):
        heads += [f"epoch {epoch}", "mask"]
    shown = [Row(row.label, list(_beside(row.images, row.masks))) for row in rows]
    ignored = any((mask == IGNORE).any() for row in rows for mask in row.masks)
    return heads, shown, marks(classes, ignored=ignored)


def marks(classes: tuple[str, ...], *, ignored: bool) -> list[Mark]:
    """The colour of each class; the first, mostly the background, has none."""
    colours = palette.colours().tolist()
    first, *others = classes
    found = [Mark(first, None)]
    found += [Mark(name, tuple(colours[number])) for number, name in enumerate(others, 1)]
    return found + [Mark("ignored", tuple(colours[IGNORE]))] * ignored


def _beside(images: list[np.ndarray], masks: list[np.ndarray]) -> Iterator[np.ndarray]:
    for image, mask in zip(images, masks, strict=True):
        yield image
        yield mask_files.over(image, mask)


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
