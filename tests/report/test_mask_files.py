from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnctl.report import mask_files


def classes() -> np.ndarray:
    """A square of class 1 within class 0, and a pixel of the last class there can be."""
    found = np.zeros((20, 30), np.uint8)
    found[5:15, 5:15] = 1
    found[2, 25] = 254
    return found


def test_the_values_of_a_mask_are_the_classes() -> None:
    mask_files.mask(classes(), Path("mask.png"))
    with Image.open("mask.png") as opened:
        assert opened.mode == "P"
        assert np.array_equal(np.asarray(opened), classes())


def test_the_colours_of_a_mask_are_those_of_voc() -> None:
    mask_files.mask(classes(), Path("mask.png"))
    seen = np.asarray(Image.open("mask.png").convert("RGB"))
    assert seen[0, 0].tolist() == [0, 0, 0]
    assert seen[10, 10].tolist() == [128, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_an_overlay_shows_the_image_half_through_a_colour(channels: int) -> None:
    image = np.full((channels, 20, 30), 100, np.uint8)
    mask_files.overlay(image, classes(), Path("over.jpg"))
    seen = np.asarray(Image.open("over.jpg")).astype(int)
    assert seen.shape == (20, 30, 3)
    assert np.abs(seen[18, 2] - 100).max() < 12
    assert np.abs(seen[10, 10] - [114, 50, 50]).max() < 16  # JPEG


def test_a_class_has_an_edge_of_its_full_colour() -> None:
    found = mask_files.edges(classes())
    by_hand = np.zeros_like(found)
    given = np.pad(classes().astype(int), 1, mode="edge")
    for y in range(20):
        for x in range(30):
            middle = given[y + 1, x + 1]
            around = (given[y, x + 1], given[y + 2, x + 1], given[y + 1, x], given[y + 1, x + 2])
            by_hand[y, x] = any(one != middle for one in around)
    assert np.array_equal(found, by_hand)


def test_a_picture_nobody_can_look_at_is_made_smaller() -> None:
    wide = np.zeros((4, 70_000), np.uint8)
    mask_files.overlay(wide[None], wide, Path("over.jpg"))
    with Image.open("over.jpg") as opened:
        assert opened.size[0] == mask_files.LONGEST


def test_half_a_file_is_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, file: Path, *_: object, **__: object) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        mask_files.mask(classes(), Path("mask.png"))
    assert [one.name for one in Path().iterdir() if one.name != "home"] == []
