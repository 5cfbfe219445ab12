from __future__ import annotations

import pytest
from hypothesis import assume, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from cnnctl.audit.arithmetic import (
    Axis,
    conv_out,
    fitting_paddings,
    fitting_sizes,
    fitting_strides,
    full_padding,
)


@pytest.mark.parametrize(
    ("axis", "paddings", "strides", "sizes"),
    [
        (Axis(7, 3, 3), [1], [2, 4], [6, 9]),
        (Axis(224, 11, 4), [], [3, 71], [223, 227]),
        (Axis(224, 11, 4, 2), [], [1, 7], [223, 227]),
        (Axis(224, 7, 2, 3), [], [1, 223], [223, 225]),
        (Axis(5, 2, 3, 1), [0], [1, 5], [3, 6]),
        (Axis(6, 3, 2, 0, 2), [], [1], [5, 7]),
    ],
)
def test_what_would_fit_by_hand(axis, paddings, strides, sizes) -> None:
    assert fitting_paddings(axis, full_padding(axis.kernel, axis.dilation)) == paddings
    assert fitting_strides(axis) == strides
    assert fitting_sizes(axis) == sizes


@settings(max_examples=50, deadline=None)
@drawn(
    st.builds(
        Axis, st.integers(1, 30), st.integers(1, 6), st.integers(1, 5), st.integers(0, 4),
        st.integers(1, 3),
    ),
    st.integers(0, 5),
)  # fmt: skip
def test_what_would_fit_is_the_nearest_of_all_on_either_side(axis: Axis, most: int) -> None:
    room = axis.size + 2 * axis.padding - axis.dilation * (axis.kernel - 1) - 1
    assume(conv_out(*axis) >= 1)
    assert fitting_paddings(axis, most) == nearest(axis, "padding", 0, most)
    assert fitting_strides(axis) == nearest(axis, "stride", 1, room)
    assert fitting_sizes(axis) == nearest(axis, "size", 1, 99)


def nearest(axis: Axis, name: str, least: int, most: int) -> list[int]:
    """By trying every value from 0 to 99; `most` holds for larger ones only."""
    given = getattr(axis, name)
    outs = {value: conv_out(*axis._replace(**{name: value})) for value in range(least, 100)}
    whole = [value for value, out in outs.items() if isinstance(out, int) and out >= 1]
    below = [value for value in whole if value < given]
    return below[-1:] + [value for value in whole if given < value <= most][:1]
