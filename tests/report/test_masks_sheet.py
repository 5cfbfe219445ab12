from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnctl.config.masks import IGNORE
from cnnctl.report import masks_sheet, palette
from cnnctl.report.masks_sheet import TILE, UNJUDGED, WRONG, Shown
from cnnctl.report.sheet import GAP, MARGIN

CLASSES = ("ground", "tree", "house")


def shown(size: int = 8, channels: int = 1, label: str = "a.png") -> Shown:
    """Left half 1, right half 2; the prediction has all of it 1; the last line is ignored."""
    mask = np.full((size, size), 1, np.uint8)
    mask[:, size // 2 :] = 2
    mask[-size // 8 :] = IGNORE
    return Shown(label, np.full((channels, size, size), 60, np.uint8), mask, np.ones_like(mask))


def drawn(rows: list[Shown], tmp_path: Path, legend: int = 1) -> np.ndarray:
    masks_sheet.write(rows, CLASSES, "a title", tmp_path / "masks.png")
    with Image.open(tmp_path / "masks.png") as sheet:
        return np.asarray(sheet.convert("RGB"))


def at(pixels: np.ndarray, column: int, x: float, y: float) -> tuple[int, ...]:
    """The colour at a share of the width and height of a picture in the first row."""
    left = pixels.shape[1] - MARGIN - (4 - column) * TILE - (3 - column) * GAP
    top = MARGIN + 3 * 13 + GAP
    return tuple(pixels[top + int(y * TILE), left + int(x * TILE)].tolist())


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (64, 3), (512, 3), (1000, 1)])
def test_image_mask_prediction_and_what_is_wrong(size: int, channels: int, tmp_path: Path) -> None:
    pixels = drawn([shown(size, channels)], tmp_path)
    colours = [tuple(one) for one in palette.colours().tolist()]
    assert at(pixels, 0, 0.5, 0.5) == (60, 60, 60)
    assert (at(pixels, 1, 0.3, 0.5), at(pixels, 1, 0.7, 0.5)) == (colours[1], colours[2])
    assert at(pixels, 1, 0.3, 0.95) == colours[IGNORE]
    assert at(pixels, 2, 0.7, 0.5) == colours[1]
    assert at(pixels, 3, 0.7, 0.5) == WRONG
    assert at(pixels, 3, 0.7, 0.95) == UNJUDGED
    right = at(pixels, 3, 0.3, 0.5)
    assert len(set(right)) == 1
    assert right[0] > 60  # faint


def test_an_image_of_another_size_lies_below_its_mask(tmp_path: Path) -> None:
    row = shown(96)
    small = row._replace(image=np.full((3, 48, 48), 60, np.uint8))
    pixels = drawn([small], tmp_path)
    assert at(pixels, 0, 0.5, 0.5) == (60, 60, 60)
    assert at(pixels, 3, 0.7, 0.5) == WRONG


def test_large_masks_are_made_smaller_without_new_colours(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    mask = random.integers(0, 3, (500, 500)).astype(np.uint8)
    row = Shown("x", np.zeros((1, 500, 500), np.uint8), mask, mask)
    pixels = drawn([row], tmp_path)
    left = pixels.shape[1] - MARGIN - 3 * TILE - 2 * GAP
    top = MARGIN + 3 * 13 + GAP
    part = pixels[top : top + TILE, left : left + TILE].reshape(-1, 3)
    assert len(np.unique(part, axis=0)) == 3


def test_the_legend_names_what_is_to_be_seen(tmp_path: Path) -> None:
    marks = list(masks_sheet._legend([shown()], CLASSES))
    assert [mark.name for mark in marks] == ["tree", "house", "ignored"]
    assert [mark.colour for mark in marks] == [
        tuple(palette.colours()[number].tolist()) for number in (1, 2, IGNORE)
    ]
    plain = shown()._replace(mask=np.zeros((8, 8), np.uint8))
    assert [mark.name for mark in masks_sheet._legend([plain], CLASSES)] == ["ground", "tree"]


def test_rows_stand_below_each_other(tmp_path: Path) -> None:
    one = drawn([shown()], tmp_path).shape
    three = drawn([shown(label="a"), shown(label="b"), shown(32)], tmp_path).shape
    assert three[0] == one[0] + 2 * (TILE + GAP)
