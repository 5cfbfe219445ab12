"""Images beside their masks and what a net makes of them, on one sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cnnctl.config.masks import IGNORE
from cnnctl.report import palette, sheet
from cnnctl.report.sheet import Mark, Row

HEADS = ("image", "mask", "prediction", "wrong")
TILE = 192  # pixels of a picture
WRONG, UNJUDGED = (214, 39, 40), (224, 224, 192)
DIMMED = 0.55  # of the way to white: the image below what is wrong
MOST = 40  # classes that are named below


class Shown(NamedTuple):
    """An image uint8 (C, h, w), its mask and what the net says, uint8 (H, W), and a few words."""

    label: str
    image: np.ndarray
    mask: np.ndarray
    predicted: np.ndarray


def write(rows: Sequence[Shown], classes: Sequence[str], title: str, file: Path) -> None:
    """A PNG with a row for each image: image, mask, prediction, wrong pixels in red.

    Below are the colours of the classes that are to be seen.
    """
    pictures = [
        Row(row.label, [image, _classes(row.mask), _classes(row.predicted), _wrong(row, image)])
        for row in rows
        for image in [_image(row)]
    ]
    file.write_bytes(sheet.png(HEADS, pictures, title, list(_legend(rows, classes)), most=TILE))


def _image(row: Shown) -> np.ndarray:
    """As large as its mask, in colour."""
    colour = np.broadcast_to(row.image, (3, *row.image.shape[1:]))
    height, width = row.mask.shape
    if colour.shape[1:] == (height, width):
        return colour
    picture = Image.fromarray(np.ascontiguousarray(colour.transpose(1, 2, 0)))
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).transpose(2, 0, 1)


def _classes(mask: np.ndarray) -> np.ndarray:
    """In colour; large ones are made smaller without mixing two classes to a third."""
    picture = Image.fromarray(mask)
    picture.thumbnail((TILE, TILE), Image.Resampling.NEAREST)
    return palette.painted(np.asarray(picture))


def _wrong(row: Shown, image: np.ndarray) -> np.ndarray:
    """The image, faint and grey, with wrong pixels red and those that are not judged pale."""
    grey = image.mean(0)
    faint = np.broadcast_to(grey + DIMMED * (255 - grey), image.shape).copy()
    for where, colour in (
        (row.mask == IGNORE, UNJUDGED),
        ((row.mask != IGNORE) & (row.mask != row.predicted), WRONG),
    ):
        faint[:, where] = np.array(colour)[:, None]
    return faint.astype(np.uint8)


def _legend(rows: Sequence[Shown], classes: Sequence[str]) -> Iterator[Mark]:
    parts = [part for row in rows for part in (row.mask, row.predicted)]
    seen = sorted({value for part in parts for value in np.unique(part).tolist()})
    for number in [value for value in seen if value != IGNORE][:MOST]:
        yield Mark(classes[int(number)], tuple(palette.colours()[number].tolist()))
    if IGNORE in seen:
        yield Mark("ignored", tuple(palette.colours()[IGNORE].tolist()))
