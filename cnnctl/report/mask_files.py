"""Masks as files: the classes themselves, and colours over the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cnnctl.report import palette

LONGEST = 4096  # side of an overlay: it is to be looked at
SHARE = 0.5  # of the colour, where it lies over the image


def mask(classes: np.ndarray, file: Path) -> None:
    """A PNG whose values are the classes, uint8 (H, W), with a palette for the eye."""
    picture = Image.fromarray(classes)  # grey; with a palette, its values are numbers of colours
    picture.putpalette(palette.colours().tobytes())
    _whole(picture, file)


def overlay(image: np.ndarray, classes: np.ndarray, file: Path) -> None:
    """A JPEG of the image and its classes, as `over` gives them.

    A picture that is larger than anybody can look at is made smaller.
    """
    picture = Image.fromarray(over(image, classes).transpose(1, 2, 0))
    picture.thumbnail((LONGEST, LONGEST))
    _whole(picture, file, quality=90, subsampling=0)


def over(image: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The image uint8 (C, H, W) with the colours of its classes uint8 (H, W): uint8 (3, H, W).

    The first class, mostly the background, has none; the others have an edge.
    """
    grey = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).astype(np.float32)
    colours = palette.colours()[classes].astype(np.float32)
    share = np.where(edges(classes), 1, SHARE) * (classes != 0)
    mixed = grey + (colours - grey) * share[..., None].astype(np.float32)
    return mixed.round().astype(np.uint8).transpose(2, 0, 1)


def edges(classes: np.ndarray) -> np.ndarray:
    """Bool (H, W): pixels beside one of another class, left, right, above or below."""
    found = np.zeros(classes.shape, bool)
    for axis in (0, 1):
        differs = np.diff(classes.astype(np.int16), axis=axis) != 0
        before = [slice(None)] * 2
        behind = [slice(None)] * 2
        before[axis], behind[axis] = slice(None, -1), slice(1, None)
        found[tuple(before)] |= differs
        found[tuple(behind)] |= differs
    return found


def _whole(picture: Image.Image, file: Path, **how: int) -> None:
    """Written beside, then named: nobody sees half a file."""
    beside = file.with_name(f".{file.name}")
    try:
        picture.save(beside, "PNG" if file.suffix == ".png" else "JPEG", **how)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
