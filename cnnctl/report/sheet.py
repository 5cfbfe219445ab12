"""Contact sheets: many small pictures in one."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE = 128  # pixels of a picture; smaller ones are enlarged by whole numbers where that fits
GAP = 6
MARGIN = 14
TEXT = 13  # pixels
LABEL = 150  # of the column of labels at most
PAPER, INK, SOFT = (253, 252, 250), (35, 33, 29), (107, 103, 94)  # as on the pages


class Row(NamedTuple):
    """A label, and pictures uint8 (C, H, W) with one or three channels."""

    label: str
    pictures: Sequence[np.ndarray]


def png(heads: Sequence[str], rows: Sequence[Row], title: str) -> bytes:
    """A file with one row of pictures for each row, under the words of `heads`."""
    font = _font()
    labels = [_short(row.label, font) for row in rows]
    pictures = [[fitted(pixels, TILE) for pixels in row.pictures] for row in rows]
    tile = max(max(picture.size) for row in pictures for picture in row)
    left = MARGIN + GAP + max(round(font.getlength(label)) for label in labels)
    top = MARGIN + 3 * TEXT + GAP
    step = tile + GAP
    width = max(left + len(heads) * step, MARGIN + round(font.getlength(title))) - GAP + MARGIN
    sheet = Image.new("RGB", (width, top + len(rows) * step - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for column, head in enumerate(heads):
        place = (left + column * step + tile // 2, top - GAP)
        draw.text(place, head, SOFT, font, anchor="ms")
    for number, (row, label) in enumerate(zip(pictures, labels, strict=True)):
        middle = top + number * step + tile // 2
        draw.text((MARGIN, middle), label, INK, font, anchor="lm")
        for column, picture in enumerate(row):
            x = left + column * step + (tile - picture.width) // 2
            sheet.paste(picture, (x, middle - picture.height // 2))
    return _encoded(sheet)


def fitted(pixels: np.ndarray, tile: int) -> Image.Image:
    """The picture uint8 (C, H, W), at most tile x tile.

    Small ones are enlarged pixel by pixel, so that nothing is invented.
    """
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    larger = tile // max(picture.size)
    if larger > 1:
        return picture.resize(
            (larger * picture.width, larger * picture.height), Image.Resampling.NEAREST
        ).convert("RGB")
    picture.thumbnail((tile, tile), Image.Resampling.LANCZOS)
    return picture.convert("RGB")


def uri(pixels: np.ndarray, tile: int) -> str:
    """The same as a data URI, for a page that needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(_encoded(fitted(pixels, tile))).decode()}"


def _font() -> ImageFont.FreeTypeFont:
    """DejaVu, which matplotlib brings along; Pillow's own font has hardly more than ASCII."""
    import matplotlib as mpl

    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", TEXT)


def _short(label: str, font: ImageFont.FreeTypeFont) -> str:
    """The label, cut where it would be wider than its column."""
    if font.getlength(label) <= LABEL:
        return label
    while font.getlength(f"{label}…") > LABEL:
        label = label[:-1]
    return f"{label}…"


def _encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
