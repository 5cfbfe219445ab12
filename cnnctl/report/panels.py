"""Pictures side by side, enlarged pixel by pixel at one scale, each with its name."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from cnnctl.report.sheet import INK, PAPER, SOFT, fitted, letters

TILE = 256  # pixels of the longest panel
LEAST = 200  # pixels for the words below
GAP, MARGIN = 22, 26
NAME, WORDS = 17, 13  # pixels of letters
BELOW = 50  # pixels of the two lines
COLUMNS = 4
EDGE = (201, 196, 185)


class Panel(NamedTuple):
    """A picture uint8 (C, H, W), its name, and what it is in a few words."""

    pixels: np.ndarray
    name: str
    words: str


def png(panels: Sequence[Panel], title: str = "") -> bytes:
    """A file with the panels in rows of four, at one scale, each with its name and words below."""
    most = max(max(panel.pixels.shape) for panel in panels)
    pictures = [fitted(one.pixels, TILE * max(one.pixels.shape) // most) for one in panels]
    high = max(picture.height for picture in pictures)
    wide = max(LEAST, *(picture.width for picture in pictures)) + GAP
    tall = high + BELOW + GAP
    columns, top = min(COLUMNS, len(panels)), MARGIN + (NAME + GAP if title else 0)
    rows = -(-len(panels) // columns)
    width = max(columns * wide - GAP, round(letters(NAME).getlength(title)))
    sheet = Image.new("RGB", (2 * MARGIN + width, top + rows * tall - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), title, INK, letters(NAME))
    for number, (panel, picture) in enumerate(zip(panels, pictures, strict=True)):
        row, column = divmod(number, columns)
        x, down = MARGIN + column * wide, top + row * tall + high
        y = down - picture.height
        draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=EDGE)
        sheet.paste(picture, (x, y))
        draw.text((x, down + 8), panel.name, INK, letters(NAME))
        draw.text((x, down + 8 + NAME + 6), panel.words, SOFT, letters(WORDS))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()
