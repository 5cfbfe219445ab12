from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.audit.axis import Axis, resize, share, shift, slide, spread, union

SMALL, PADDING = st.integers(1, 4), st.integers(0, 3)
laws = settings(max_examples=50, deadline=None)
INDICES = range(-9, 30)
See = Callable[[int], set[int]]


class Layer(NamedTuple):
    """A layer in both ways: of an Axis, and pixel by pixel."""

    change: Callable[[Axis], Axis | None]
    taps: Callable[[int], set[int]]


def around(index: int) -> range:
    return range(index - 20, index + 20)


@st.composite
def layers(draw) -> Layer:
    """A layer with random numbers."""
    kernel, stride, padding, dilation = draw(SMALL), draw(SMALL), draw(PADDING), draw(SMALL)
    size, new, start = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(-3, 3))
    makers = {
        "slide": Layer(
            lambda axis: slide(axis, kernel, stride, padding, dilation),
            lambda i: {i * stride - padding + k * dilation for k in range(kernel)},
        ),
        "spread": Layer(
            lambda axis: spread(axis, kernel, stride, padding, dilation),
            lambda i: {
                j for j in around(i // stride) for k in range(kernel)
                if j * stride - padding + k * dilation == i
            },
        ),
        "share": Layer(
            lambda axis: share(axis, size, new),
            lambda i: {
                j for j in around(i * size // new)
                if j * new < (i + 1) * size and (j + 1) * new > i * size
            },
        ),
        "nearest": Layer(
            lambda axis: resize(axis, size, new, near=1), lambda i: {i * size // new}
        ),
        "shift": Layer(
            lambda axis: shift(axis, start, stride), lambda i: {start + i * stride}
        ),
    }  # fmt: skip
    return makers[draw(st.sampled_from(sorted(makers)))]


def through(chain: list[Layer]) -> tuple[Axis | None, See]:
    axis: Axis | None = Axis()
    for layer in chain:
        axis = None if axis is None else layer.change(axis)

    def see(index: int) -> set[int]:
        pixels = {index}
        for layer in reversed(chain):
            pixels = {tap for pixel in pixels for tap in layer.taps(pixel)}
        return pixels

    return axis, see


@laws
@given(st.lists(layers(), min_size=1, max_size=3))
def test_what_an_index_sees_is_what_counting_pixel_by_pixel_finds(chain) -> None:
    axis, see = through(chain)
    if axis is None:
        assert any(not layer.taps(i) for layer in chain for i in range(4))
        return
    for index in INDICES:
        pixels = see(index)
        assert axis.at(index) == (min(pixels), max(pixels))


@laws
@given(st.lists(layers(), max_size=3))
def test_size_and_jump_are_those_of_all_positions(chain) -> None:
    axis, _ = through(chain)
    if axis is None:
        return
    period = len(axis.seen)
    found = [axis.at(index) for index in range(-period, 2 * period)]
    assert axis.size == max(last - first + 1 for first, last in found)
    assert axis.jump == Fraction(axis.advance, period)
    for early, late in zip(found, found[period:], strict=False):
        assert (early[0] + axis.advance, early[1] + axis.advance) == late


@laws
@given(st.lists(layers(), max_size=2), st.lists(layers(), max_size=2))
def test_two_branches_see_what_either_sees_if_they_keep_step(one, other) -> None:
    (first, see), (second, look) = through(one), through(other)
    if first is None or second is None:
        return
    both = first.joined(second)
    assert (both is None) == (first.jump != second.jump)
    if both is not None:
        for index in INDICES:
            pixels = see(index) | look(index)
            assert both.at(index) == (min(pixels), max(pixels))
        assert both == second.joined(first)


@laws
@given(kernel=SMALL, stride=SMALL, padding=PADDING, dilation=SMALL, size=SMALL, jump=SMALL)
def test_a_layer_adds_its_kernel_less_one_times_the_jump(
    kernel, stride, padding, dilation, size, jump
) -> None:
    before = Axis(((0, size - 1),), jump)
    after = slide(before, kernel, stride, padding, dilation)
    assert after.size == size + (kernel - 1) * dilation * jump
    assert after.jump == jump * stride
    assert after.at(0)[0] == -padding * jump


@laws
@given(kernel=SMALL, stride=SMALL, padding=PADDING, dilation=SMALL)
def test_a_transposed_convolution_divides_the_jump_unless_it_leaves_gaps(
    kernel, stride, padding, dilation
) -> None:
    reached = {(tap * dilation - padding) % stride for tap in range(kernel)}
    after = spread(Axis(), kernel, stride, padding, dilation)
    assert (after is None) == (len(reached) < stride)
    if after is not None:
        assert after.jump == Fraction(1, stride)


@pytest.mark.parametrize(
    ("pool_then", "sizes", "jump"),
    [
        (lambda axis: spread(axis, 2, 2, 0), [(0, 1), (0, 1), (2, 3), (2, 3)], 1),
        (lambda axis: spread(axis, 3, 2, 1), [(0, 1), (0, 3), (2, 3), (2, 5)], 1),
        (lambda axis: spread(axis, 4, 2, 1), [(-2, 1), (0, 3), (0, 3), (2, 5)], 1),
        (lambda axis: resize(axis, 5, 10, near=1), [(0, 1), (0, 1), (2, 3), (2, 3)], 1),
        (lambda axis: resize(axis, 5, 10, near=2), [(-2, 1), (0, 3), (0, 3), (2, 5)], 1),
        (lambda axis: resize(axis, 6, 4, near=2), [(0, 3), (2, 5), (6, 9), (8, 11)], 3),
        (lambda axis: share(axis, 7, 2), [(0, 7), (6, 13), (14, 21), (20, 27)], 7),
        (lambda axis: shift(axis, -1), [(-2, -1), (0, 1), (2, 3), (4, 5)], 2),
        (lambda axis: shift(axis, 3, 2), [(6, 7), (10, 11), (14, 15), (18, 19)], 4),
    ],
)
def test_what_the_first_four_indices_see_behind_a_pool_of_two(pool_then, sizes, jump) -> None:
    axis = pool_then(slide(Axis(), 2, 2, 0))
    assert [axis.at(i) for i in range(4)] == sizes
    assert axis.jump == jump


def test_smooth_resizing_reads_the_two_neighbours_of_the_centre() -> None:
    for size, new in [(4, 8), (5, 15), (8, 4), (6, 4), (7, 3)]:
        axis = resize(Axis(), size, new, near=2)
        for i in range(-5, 12):
            centre = (i + 0.5) * size / new - 0.5
            first, last = axis.at(i)
            assert first <= centre + 1e-9
            assert centre - 1e-9 <= last <= first + 1
            assert (first == last) == (abs(centre - round(centre)) < 1e-9)


def test_branches_of_another_period_are_joined_at_every_position() -> None:
    pooled = slide(Axis(), 2, 2, 0)
    nearest, plain = resize(pooled, 5, 10, near=1), Axis()
    assert (len(nearest.seen), len(plain.seen)) == (2, 1)
    for both in (plain.joined(nearest), nearest.joined(plain)):
        assert both == Axis(((0, 1), (0, 1)), 2)
    shifted = shift(Axis(), 3)
    both = shifted.joined(nearest)
    assert both is not None
    assert [both.at(i) for i in range(-1, 4)] == [(-2, 2), (0, 3), (0, 4), (2, 5), (2, 6)]


def test_a_pixel_sees_itself() -> None:
    axis = Axis()
    assert (axis.size, axis.jump) == (1, 1)
    assert [axis.at(index) for index in (-3, 0, 7)] == [(-3, -3), (0, 0), (7, 7)]


def test_a_union_spans_its_parts() -> None:
    assert union([(3, 5), (9, 9), (-1, 0)]) == (-1, 9)


def test_vgg16_by_hand() -> None:
    axis = Axis()
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            axis = slide(axis, 3, 1, 1)
        axis = slide(axis, 2, 2, 0)
    assert (axis.size, axis.jump) == (212, 32)
    # Half of 212 − 32 stands on either side of the 32 pixels that belong to an index.
    assert axis.at(3) == (96 - 90, 96 + 31 + 90)


def test_the_unpadded_unet_sees_more_at_some_positions_than_at_others() -> None:
    axis, skips = Axis(), []
    for _ in range(4):
        axis = slide(slide(axis, 3, 1, 0), 3, 1, 0)
        skips.append(axis)
        axis = slide(axis, 2, 2, 0)
    axis = slide(slide(axis, 3, 1, 0), 3, 1, 0)
    assert (axis.size, axis.jump) == (140, 16)
    for skip, crop in zip(reversed(skips), (4, 16, 40, 88), strict=True):
        joined = spread(axis, 2, 2, 0).joined(shift(skip, crop))
        axis = slide(slide(joined, 3, 1, 0), 3, 1, 0)
    assert axis.jump == 1
    assert {last - first + 1 for first, last in axis.seen} == {188, 204}
    assert axis.at(0) == (0, 187)
