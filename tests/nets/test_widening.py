from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import answer, aten, meta

SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
FOUR = st.lists(st.integers(0, 4), min_size=4, max_size=4)
BOTH = st.booleans()
laws = settings(max_examples=50, deadline=None)
RESIZED = ["upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"]


def how(name: str) -> list[bool]:
    """Nearest pixels have no corners to be aligned."""
    return [] if name == "upsample_nearest2d" else [False]


@laws
@given(sides=SIDES, padding=FOUR, channels=st.integers(1, 4), last=BOTH)
def test_mirrored_edges_are_laid_out_as_real_ones(sides, padding, channels, last) -> None:
    found = answer(aten.reflection_pad2d.default, meta(2, channels, *sides, last=last), padding)
    left, right, top, bottom = padding
    fits = max(left, right) < sides[1] and max(top, bottom) < sides[0]
    assert (found is not None) == fits
    if fits:
        image = meta(2, channels, *sides, last=last)
        back = answer(aten.reflection_pad2d_backward.default, found, image, padding)
        assert back.shape == image.shape


@laws
@given(
    name=st.sampled_from(RESIZED), sides=SIDES, new=SIDES, channels=st.integers(1, 5), last=BOTH,
    lasts=BOTH,
)  # fmt: skip
def test_resized_maps_and_their_gradients_are_laid_out_as_real_ones(
    name, sides, new, channels, last, lasts
) -> None:
    shape = (2, channels, *sides)
    found = answer(getattr(aten, name).default, meta(*shape, last=last), [*new], *how(name))
    assert tuple(found.shape) == (2, channels, *new)
    gradient = meta(2, channels, *new, last=lasts)
    backward = getattr(aten, f"{name}_backward").default
    assert answer(backward, gradient, [*new], [*shape], *how(name)) is not None


@pytest.mark.parametrize("name", RESIZED)
def test_other_things_than_maps_are_left_to_torch(name) -> None:
    resize = getattr(aten, name).default
    assert answer(resize, meta(2, 3, 4), [8, 8], *how(name)) is None
    assert answer(resize, meta(2, 3, 4, 4), [0, 8], *how(name)) is None
    if name != "upsample_nearest2d":
        whole = meta(2, 3, 4, 4, dtype=torch.int64)
        assert answer(resize, whole, [8, 8], *how(name)) is None


@laws
@given(sides=SIDES, channels=st.integers(1, 4), last=BOTH)
def test_unpooled_maps_are_laid_out_as_real_ones(sides, channels, last) -> None:
    value = meta(2, channels, *sides, last=last)
    new = [2 * side for side in sides]
    found = answer(aten.max_unpool2d.default, value, value.to(torch.int64), new)
    assert tuple(found.shape) == (2, channels, *new)
    assert answer(aten.max_unpool2d.default, value, meta(2, dtype=torch.int64), new) is None


@laws
@given(
    groups=st.integers(1, 3), widths=st.tuples(st.integers(1, 3), st.integers(1, 3)), sides=SIDES,
    kernel=st.integers(1, 4), stride=st.integers(1, 3), padding=st.integers(0, 2),
    more=st.integers(0, 2), bias=BOTH, last=BOTH,
)  # fmt: skip
def test_a_transposed_convolution_gives_what_a_real_one_gives(
    groups, widths, sides, kernel, stride, padding, more, bias, last
) -> None:
    c_in, c_out = widths
    image = meta(2, c_in * groups, *sides, last=last)
    weight = meta(c_in * groups, c_out, kernel, kernel)
    given = meta(c_out * groups) if bias else None
    window = ([stride] * 2, [padding] * 2, [1, 1], True, [more] * 2, groups)
    found = answer(aten.convolution.default, image, weight, given, *window)
    expected = tuple((side - 1) * stride - 2 * padding + kernel + more for side in sides)
    fits = more < stride and min(expected) > 0
    assert (found is not None) == fits
    assert not fits or tuple(found.shape) == (2, c_out * groups, *expected)


def test_channels_that_do_not_fit_a_transposed_convolution_are_left_to_torch() -> None:
    window = ([1, 1], [0, 0], [1, 1], True, [0, 0], 1)
    image = meta(1, 3, 8, 8)
    assert answer(aten.convolution.default, image, meta(4, 2, 3, 3), None, *window) is None
    assert answer(aten.convolution.default, image, meta(3, 2, 3, 3), meta(3), *window) is None
    assert answer(aten.convolution.default, image, meta(3, 2, 3, 3), meta(2), *window) is not None


@pytest.mark.parametrize("name", ["_softmax", "_log_softmax"])
@pytest.mark.parametrize("cut", [False, True])
def test_softmax_of_maps_lies_row_by_row_however_the_maps_lie(name, cut) -> None:
    value = meta(2, 3, 6, 5, last=True)
    found = answer(getattr(aten, name).default, value[..., 1:4, :3] if cut else value, 1, False)  # noqa: FBT003 - half to float
    assert found.is_contiguous()
