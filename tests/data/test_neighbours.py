from __future__ import annotations

import math

import numpy as np
import pytest

from cnnctl.data.neighbours import around, near


@pytest.mark.parametrize("reach", [0.5, 1, 1.5, 2.9, 5])
def test_the_neighbours_of_a_pixel(reach: float) -> None:
    """In lines of 100 pixels each step is another place."""
    found = around(reach, 100)
    wanted = {
        100 * y + x: math.hypot(y, x)
        for y in range(-6, 7)
        for x in range(-6, 7)
        if 0 < math.hypot(y, x) <= reach
    }
    assert {step: distance for distance, step in found} == pytest.approx(wanted)
    assert len(found) == len(wanted)
    assert [distance for distance, _ in found] == sorted(wanted.values())


@pytest.mark.parametrize("reach", [0, 1, 2, 7, 30])
@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
def test_near_is_within_a_square(reach: int, share: float) -> None:
    marked = np.random.default_rng(0).random((13, 17)) < share
    found = near(marked, reach)
    for y, x in np.ndindex(marked.shape):
        window = marked[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        assert found[y, x] == window.any()
