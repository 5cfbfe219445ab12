"""What `cnnctl data show` shows of images with masks. Imports numpy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cnnctl.config.masks import IGNORE
from cnnctl.report import mask_files, palette
from cnnctl.report.sheet import Mark, Row


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
