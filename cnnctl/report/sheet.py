"""Contact sheets: many small pictures in one."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
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


class Mark(NamedTuple):
    """A name, and the colour that stands for it, or none."""

    name: str
    colour: tuple[int, ...] | None


def png(
    heads: Sequence[str], rows: Sequence[Row], title: str, legend: Sequence[Mark] = (),
    most: int = TILE,
) -> bytes:  # fmt: skip
    """A file with one row of pictures for each row, under the words of `heads`.

    Each is at most `most` x `most` pixels large.
    """
    font = letters()
    labels = [_short(row.label, font) for row in rows]
    pictures = [[fitted(pixels, most) for pixels in row.pictures] for row in rows]
    tile = max(max(picture.size) for row in pictures for picture in row)
    left = MARGIN + GAP + max(round(font.getlength(label)) for label in labels)
    top = MARGIN + 3 * TEXT + GAP
    step = tile + GAP
    width = max(left + len(heads) * step, MARGIN + round(font.getlength(title))) - GAP + MARGIN
    below = top + len(rows) * step - GAP + MARGIN
    places = list(_places(legend, width, below, font))
    bottom = places[-1][1] + TEXT + MARGIN if places else below
    sheet = Image.new("RGB", (width, bottom), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for (x, y), mark in zip(places, legend, strict=True):
        draw.rectangle((x, y, x + TEXT, y + TEXT), mark.colour or PAPER, SOFT)
        draw.text((x + TEXT + GAP, y + TEXT // 2 + 1), mark.name, INK, font, anchor="lm")
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


class Tile(NamedTuple):
    """A picture uint8 (C, H, W), and the lines of text below it."""

    pixels: np.ndarray
    words: Sequence[str]


def grid(tiles: Sequence[Tile], title: str, columns: int = 8) -> bytes:
    """A file with the pictures row by row, each with its words."""
    font = letters()
    lines = max(len(tile.words) for tile in tiles)
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    wide, tall = TILE + GAP, TILE + GAP + lines * (TEXT + 3)
    top = MARGIN + TEXT + 2 * GAP
    width = max(columns * wide - GAP, round(font.getlength(title))) + 2 * MARGIN
    sheet = Image.new("RGB", (width, top + rows * (tall + GAP) - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for number, tile in enumerate(tiles):
        picture = fitted(tile.pixels, TILE)
        row, column = divmod(number, columns)
        left, upper = MARGIN + column * wide, top + row * (tall + GAP)
        place = (left + (TILE - picture.width) // 2, upper + TILE - picture.height)
        sheet.paste(picture, place)
        for line, word in enumerate(tile.words):
            down = upper + TILE + GAP + line * (TEXT + 3)
            draw.text((left, down), _short(word, font, TILE), SOFT if line else INK, font)
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


def _places(
    legend: Sequence[Mark], width: int, top: int, font: ImageFont.FreeTypeFont
) -> Iterator[tuple[int, int]]:
    """Left and upper edge of each mark, in as many lines as they need."""
    left = MARGIN
    for mark in legend:
        wide = TEXT + GAP + round(font.getlength(mark.name)) + MARGIN
        if left > MARGIN and left + wide > width:
            left, top = MARGIN, top + TEXT + GAP
        yield left, top
        left += wide


def letters(size: int = TEXT) -> ImageFont.FreeTypeFont:
    """DejaVu, which matplotlib brings along; Pillow's own font has hardly more than ASCII."""
    import matplotlib as mpl

    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _short(label: str, font: ImageFont.FreeTypeFont, most: int = LABEL) -> str:
    """The label, cut where it would be wider than its column."""
    if font.getlength(label) <= most:
        return label
    while font.getlength(f"{label}…") > most:
        label = label[:-1]
    return f"{label}…"


def _encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
