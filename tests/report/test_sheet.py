from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cnnctl.report import sheet
from cnnctl.report.sheet import GAP, MARGIN, TILE, Row, Tile, fitted, grid, png, uri


def grey(level: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.full((1, height, width), level, np.uint8)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (8, 8, (128, 128)), (32, 32, (128, 128)), (28, 28, (112, 112)), (100, 100, (100, 100)),
        (128, 128, (128, 128)), (224, 224, (128, 128)), (300, 600, (128, 64)), (8, 2, (32, 128)),
    ],
)  # fmt: skip
def test_a_picture_fits_its_tile(height: int, width: int, size: tuple[int, int]) -> None:
    picture = fitted(grey(9, height, width), 128)
    assert (picture.size, picture.mode) == (size, "RGB")


def test_small_pictures_are_enlarged_pixel_by_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4)).astype(np.uint8)
    large = np.asarray(fitted(pixels, 12))
    assert (large == pixels.transpose(1, 2, 0).repeat(3, 0).repeat(3, 1)).all()


def test_a_sheet_has_a_place_for_every_picture() -> None:
    rows = [Row(f"class {row}", [grey(20 * row + column) for column in range(3)]) for row in (1, 2)]
    made = opened(png(["unchanged", "epoch 0", "epoch 1"], rows, "digits"))
    pixels = np.asarray(made)
    right, bottom = made.width - MARGIN, made.height - MARGIN
    step = TILE + GAP
    for row in (0, 1):
        for column in range(3):
            x = right - TILE // 2 - (2 - column) * step
            y = bottom - TILE // 2 - (1 - row) * step
            assert pixels[y, x].tolist() == [20 * (row + 1) + column] * 3
    edges = np.concatenate([pixels[:, :4].reshape(-1, 3), pixels[-4:].reshape(-1, 3)])
    assert (edges == sheet.PAPER).all()


def test_grey_and_colour_of_other_sizes_stand_on_one_sheet() -> None:
    colour = np.zeros((3, 200, 100), np.uint8)
    colour[0] = 255
    made = opened(png(["a", "b"], [Row("x", [grey(7), colour])], "title"))
    middle = (made.width - MARGIN - TILE // 2, made.height - MARGIN - TILE // 2)
    assert made.getpixel(middle) == (255, 0, 0)


def test_a_sheet_is_the_same_every_time() -> None:
    rows = [Row("x", [grey(3)])]
    assert png(["a"], rows, "t") == png(["a"], rows, "t")


def test_words_that_are_not_ascii_have_letters() -> None:
    font = sheet.letters()
    boxes = [bytes(font.getmask(letter)) for letter in "é×ß…Ωж"]
    assert len(set(boxes)) == len(boxes)


@pytest.mark.parametrize("label", ["cat", "n01440764 tench, Tinca tinca, or whatever it is called"])
def test_long_labels_are_cut(label: str) -> None:
    font = sheet.letters()
    short = sheet._short(label, font)
    assert font.getlength(short) <= sheet.LABEL
    assert short == label if label == "cat" else short.endswith("…")
    assert label.startswith(short.removesuffix("…"))


def test_a_long_title_is_not_cut() -> None:
    narrow = opened(png(["a"], [Row("x", [grey(3)])], "t"))
    wide = opened(png(["a"], [Row("x", [grey(3)])], "a long title " * 9))
    assert wide.width > narrow.width


def test_a_data_uri_holds_the_picture() -> None:
    head, _, data = uri(grey(77, 300, 150), 96).partition(",")
    assert head == "data:image/png;base64"
    picture = opened(base64.b64decode(data))
    assert picture.size == (48, 96)
    assert picture.getpixel((20, 40)) == (77, 77, 77)


def test_a_grid_has_a_place_for_every_picture_and_its_words() -> None:
    tiles = [Tile(grey(10 * number + 5), (f"number {number}", "below")) for number in range(5)]
    made = opened(grid(tiles, "five", columns=3))
    pixels = np.asarray(made)
    step = TILE + GAP
    for number in range(5):
        row, column = divmod(number, 3)
        x = MARGIN + column * step + TILE // 2
        where = [y for y in range(made.height) if pixels[y, x].tolist() == [10 * number + 5] * 3]
        assert len(where) == TILE
        assert (where[0] > made.height // 2) is (row == 1)
    one = opened(grid([Tile(grey(1), ("a very long name of a class that is cut",))], "one"))
    assert one.width == TILE + 2 * MARGIN


def test_words_make_a_grid_higher() -> None:
    heights = [
        opened(grid([Tile(grey(1), ["word"] * lines)], "t")).height for lines in (1, 2, 3)
    ]  # fmt: skip
    assert heights[2] - heights[1] == heights[1] - heights[0] > 0
