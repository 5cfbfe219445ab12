"""The colours in which classes are shown: those of PASCAL VOC's masks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

BITS = 8  # of a colour


@lru_cache(1)
def colours() -> np.ndarray:
    """uint8 (256, 3): red, green and blue of each class; the last is that of ignored pixels.

    The bits of a class number, three at a time and the lowest first, are the bits of red, green
    and blue, the highest first (VOCcmap of the development kit of PASCAL VOC). Class 0 is black,
    and what is ignored, which is 255, a pale grey.
    """
    numbers = np.arange(1 << BITS)
    found = np.zeros((len(numbers), 3), np.uint8)
    for place in range(BITS):
        for channel in range(3):
            bit = numbers >> 3 * place + channel & 1
            found[:, channel] |= (bit << BITS - 1 - place).astype(np.uint8)
    found.flags.writeable = False
    return found


def painted(mask: np.ndarray) -> np.ndarray:
    """Classes uint8 (H, W) as a picture uint8 (3, H, W)."""
    return np.ascontiguousarray(colours()[mask].transpose(2, 0, 1))
