from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cnnctl.report.panels import BELOW, EDGE, GAP, LEAST, MARGIN, NAME, TILE, Panel, png
from cnnctl.report.sheet import PAPER


def sheet(panels: list[Panel], title: str = "") -> np.ndarray:
    with Image.open(io.BytesIO(png(panels, title))) as opened:
        return np.asarray(opened.convert("RGB"))


def panel(side: int, channels: int = 1) -> Panel:
    pixels = np.random.default_rng(side).integers(0, 256, (channels, side, side), np.uint8)
    return Panel(pixels, f"{side}", "words")


@pytest.mark.parametrize(("many", "rows", "columns"), [(1, 1, 1), (4, 1, 4), (5, 2, 4), (9, 3, 4)])
def test_panels_stand_in_rows_of_four(many: int, rows: int, columns: int) -> None:
    height, width, _ = sheet([panel(64)] * many).shape
    assert width == 2 * MARGIN + columns * (TILE + GAP) - GAP
    assert height == 2 * MARGIN + rows * (TILE + BELOW + GAP) - GAP


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_enlarged_by_whole_numbers_and_framed(channels: int) -> None:
    one = panel(32, channels)
    seen = sheet([one])
    part = seen[MARGIN : MARGIN + TILE, MARGIN : MARGIN + TILE]
    expected = np.broadcast_to(one.pixels, (3, 32, 32)).transpose(1, 2, 0)
    np.testing.assert_array_equal(part, expected.repeat(8, 0).repeat(8, 1))
    assert (seen[MARGIN - 1, MARGIN : MARGIN + TILE] == EDGE).all()
    assert (seen[0] == PAPER).all()


def test_all_have_one_scale_and_stand_on_one_line() -> None:
    small, large = panel(16), panel(64)
    seen = sheet([large, small])
    left, down = MARGIN + TILE + GAP, MARGIN + TILE
    part = seen[down - 64 : down : 4, left : left + 64 : 4, 0]
    np.testing.assert_array_equal(part, small.pixels[0])
    assert (seen[down - 70, left : left + 64] == PAPER).all()


def test_a_title_stands_above() -> None:
    plain, titled = (sheet([panel(64)] * 4, title) for title in ("", "all of them"))
    assert titled.shape[0] == plain.shape[0] + NAME + GAP
    np.testing.assert_array_equal(titled[MARGIN + NAME + GAP :], plain[MARGIN:])
    assert (titled[: MARGIN + NAME] != PAPER).any()


def test_narrow_panels_leave_room_for_their_words() -> None:
    wide = Panel(np.zeros((1, 20, 70), np.uint8), "wide", "words")  # 3 x 70 pixels
    assert sheet([wide] * 2).shape[1] == 2 * MARGIN + 2 * (210 + GAP) - GAP
    narrow = Panel(np.zeros((1, 150, 90), np.uint8), "narrow", "words")
    assert sheet([narrow] * 2).shape[1] == 2 * MARGIN + 2 * (LEAST + GAP) - GAP


def test_large_pictures_are_made_smaller() -> None:
    assert sheet([panel(512)]).shape[1] == 2 * MARGIN + TILE
