from __future__ import annotations

import numpy as np
import pytest

from cnnctl.config.masks import IGNORE
from cnnctl.report import palette

VOC = {  # as the masks of PASCAL VOC 2012 have them
    0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128),
    5: (128, 0, 128), 6: (0, 128, 128), 7: (128, 128, 128), 8: (64, 0, 0), 9: (192, 0, 0),
    10: (64, 128, 0), 15: (192, 128, 128), 16: (0, 64, 0), 20: (0, 64, 128),
    IGNORE: (224, 224, 192),
}  # fmt: skip


@pytest.mark.parametrize(("number", "colour"), VOC.items())
def test_the_colours_are_those_of_voc(number: int, colour: tuple[int, int, int]) -> None:
    assert tuple(palette.colours()[number].tolist()) == colour


def test_no_two_classes_share_a_colour() -> None:
    assert len(np.unique(palette.colours(), axis=0)) == 256


def test_the_colours_cannot_be_changed_by_chance() -> None:
    with pytest.raises(ValueError, match="read-only"):
        palette.colours()[0] = 1


def test_a_mask_becomes_a_picture() -> None:
    mask = np.array([[0, 1, 2], [IGNORE, 4, 1]], np.uint8)
    picture = palette.painted(mask)
    assert (picture.shape, picture.dtype) == ((3, 2, 3), np.uint8)
    for y, x in np.ndindex(2, 3):
        assert tuple(picture[:, y, x].tolist()) == VOC[int(mask[y, x])]
