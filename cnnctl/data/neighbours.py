"""Pixels around a pixel, the nearest first: distances that are exact up to a reach."""

from __future__ import annotations

import math

import numpy as np


def around(reach: float, width: int) -> list[tuple[float, int]]:
    """The neighbours within `reach`, the nearest first, without the pixel itself.

    Each by its distance between centres, and by the step to it in a flat array of lines of
    `width` pixels.
    """
    side = math.floor(reach)
    y, x = np.mgrid[-side : side + 1, -side : side + 1]
    squares = (y**2 + x**2).reshape(-1)
    steps = (y * width + x).reshape(-1)
    order = np.argsort(squares, kind="stable")
    order = order[(squares[order] > 0) & (squares[order] <= reach**2)]
    return list(zip(np.sqrt(squares[order]).tolist(), steps[order].tolist(), strict=True))


def near(marked: np.ndarray, reach: int) -> np.ndarray:
    """Whether there is a marked pixel in the square of so many pixels on each side; bool (H, W)."""
    window = 2 * reach + 1
    for axis in (0, 1):
        edges = [(0, 0), (0, 0)]
        edges[axis] = (reach + 1, reach)
        counts = np.pad(marked, edges).cumsum(axis)
        starts = np.arange(marked.shape[axis])
        marked = counts.take(starts + window, axis) > counts.take(starts, axis)
    return marked
