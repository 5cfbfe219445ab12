from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnnctl.audit import arithmetic
from cnnctl.audit.arithmetic import (
    conv_macs,
    conv_out,
    conv_params,
    full_padding,
    receptive_field,
    same_padding,
    transposed_field,
    transposed_out,
)

LAW = settings(max_examples=50, deadline=None)
KERNEL, STRIDE, PADDING, DILATION = (
    st.integers(*limits) for limits in ((1, 6), (1, 5), (0, 4), (1, 3))
)
SIZE, CHANNELS = st.integers(1, 30), st.integers(1, 6)


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(1, *shape, device="meta")


@pytest.mark.parametrize(
    ("numbers", "out"),
    [
        ((7, 3), 5),
        ((7, 3, 2), 3),
        ((7, 3, 3), Fraction(7, 3)),
        ((7, 3, 1, 1), 7),
        ((32, 5), 28),
        ((28, 5), 24),
        ((32, 5, 1, 2), 32),
        ((55, 3, 2), 27),
        ((224, 11, 4), Fraction(217, 4)),
        ((224, 11, 4, 2), Fraction(221, 4)),
        ((227, 11, 4), 55),
        ((9, 3, 1, 0, 2), 5),
        ((3, 5), -1),
        ((1, 2, 2), Fraction(1, 2)),
    ],
)
def test_sizes_as_they_are_worked_out_by_hand(numbers, out) -> None:
    found = conv_out(*numbers)
    assert found == out
    assert type(found) is type(out)


@LAW
@given(SIZE, KERNEL, STRIDE, PADDING, DILATION)
def test_a_convolution_is_as_large_as_torch_makes_it(
    size, kernel, stride, padding, dilation
) -> None:
    out = conv_out(size, kernel, stride, padding, dilation)
    layer = nn.Conv2d(1, 1, kernel, stride, padding, dilation, device="meta")
    if out >= 1:
        assert layer(meta(1, size, size)).shape[2:] == (math.floor(out),) * 2
    else:
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            layer(meta(1, size, size))


@LAW
@given(SIZE, KERNEL, STRIDE, PADDING, DILATION, st.integers(0, 4))
def test_a_transposed_one_is_as_large_as_torch_makes_it(
    size, kernel, stride, padding, dilation, more
) -> None:
    more = min(more, max(stride, dilation) - 1)
    out = transposed_out(size, kernel, stride, padding, dilation, more)
    layer = nn.ConvTranspose2d(
        1, 1, kernel, stride, padding, more, dilation=dilation, device="meta"
    )
    if out >= 1:
        assert layer(meta(1, size, size)).shape[2:] == (out, out)
    else:
        with pytest.raises(RuntimeError, match="output size"):
            layer(meta(1, size, size))


@LAW
@given(SIZE, KERNEL, STRIDE, PADDING, DILATION)
def test_a_transposed_convolution_undoes_the_size_of_a_convolution(
    size, kernel, stride, padding, dilation
) -> None:
    out = conv_out(size, kernel, stride, padding, dilation)
    lost = (size + 2 * padding - arithmetic.extent(kernel, dilation)) % stride
    back = transposed_out(math.floor(out), kernel, stride, padding, dilation, lost)
    assert back == size


@LAW
@given(SIZE, KERNEL, DILATION)
def test_same_keeps_the_size_and_full_keeps_every_overlap(size, kernel, dilation) -> None:
    half = same_padding(kernel, dilation)
    assert half == Fraction(dilation * (kernel - 1), 2)
    assert isinstance(half, int) == (dilation * (kernel - 1) % 2 == 0)
    if isinstance(half, int):
        assert conv_out(size, kernel, 1, half, dilation) == size
    full = full_padding(kernel, dilation)
    assert conv_out(size, kernel, 1, full, dilation) == size + dilation * (kernel - 1)
    assert conv_out(1, kernel, 1, full, dilation) == transposed_out(1, kernel, 1, 0, dilation)


@pytest.mark.parametrize(
    ("kernel", "padding"), [(1, 0), (3, 1), (5, 2), (7, 3), (4, Fraction(3, 2))]
)
def test_padding_that_keeps_the_size(kernel, padding) -> None:
    assert same_padding(kernel) == padding


@pytest.mark.parametrize(
    ("params", "number"),
    [
        (conv_params(3, 1, 5), 75),
        (conv_params(3, 1, 5, bias=True), 76),
        (conv_params(3, 10, 5), 750),
        (conv_params(3, 10, 5, bias=True), 760),
        (conv_params(1, 1, 4), 16),
        (3 * conv_params(1, 1, 3), 27),
        (conv_params(1, 1, 7), 49),
        (conv_params(4, 6, (1, 7), groups=2), 84),
        (conv_params(64, 64, 3, groups=64), 576),
        (conv_params(96, 256, 5, bias=True, groups=2), 307_456),
    ],
)
def test_parameters_as_they_are_worked_out_by_hand(params, number) -> None:
    assert params == number


@LAW
@given(st.tuples(KERNEL, KERNEL), CHANNELS, CHANNELS, st.integers(1, 3), st.booleans())
def test_parameters_are_as_many_as_in_torch(kernel, c_in, c_out, groups, bias) -> None:
    c_in, c_out = c_in * groups, c_out * groups
    for kind in (nn.Conv2d, nn.ConvTranspose2d):
        layer = kind(c_in, c_out, kernel, groups=groups, bias=bias, device="meta")
        found = sum(parameter.numel() for parameter in layer.parameters())
        assert conv_params(c_in, c_out, kernel, bias=bias, groups=groups) == found


@pytest.mark.parametrize(("c_in", "c_out"), [(3, 4), (4, 3), (3, 3)])
def test_groups_that_divide_no_channels_are_an_error(c_in, c_out) -> None:
    text = f"groups must divide {c_in} and {c_out} channels, got 2"
    with pytest.raises(ValueError, match=text):
        conv_params(c_in, c_out, 3, groups=2)
    with pytest.raises(ValueError, match=text):
        conv_macs(8, c_in, c_out, 3, groups=2)


@pytest.mark.parametrize(
    ("macs", "number"),
    [
        (conv_macs(8, 3, 256, 5), 1_228_800),
        (conv_macs(8, 3, 3, 5, groups=3), 4_800),
        (conv_macs(8, 3, 256, 1), 49_152),
        (conv_macs(32, 200, 92, 5), 471_040_000),
        (conv_macs(32, 200, 16, 1) + conv_macs(32, 16, 92, 5), 40_960_000),
        (conv_macs((2, 3), 1, 1, (1, 4)), 24),
    ],
)
def test_multiply_adds_as_they_are_worked_out_by_hand(macs, number) -> None:
    assert macs == number


@LAW
@given(st.tuples(KERNEL, KERNEL), STRIDE, CHANNELS, CHANNELS, st.integers(1, 3))
def test_multiply_adds_are_half_the_flops_that_torch_counts(
    kernel, stride, c_in, c_out, groups
) -> None:
    c_in, c_out = c_in * groups, c_out * groups
    image = meta(c_in, 9, 12)
    for kind in (nn.Conv2d, nn.ConvTranspose2d):
        layer = kind(c_in, c_out, kernel, stride, groups=groups, bias=False, device="meta")
        with FlopCounterMode(display=False) as counter:
            out = layer(image)
        size = (9, 12) if kind is nn.ConvTranspose2d else (out.shape[2], out.shape[3])
        assert 2 * conv_macs(size, c_in, c_out, kernel, groups) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("layers", "field"),
    [
        ([], 1),
        ([(5, 1)], 5),
        ([(3, 1)] * 2, 5),
        ([(3, 1)] * 3, 7),
        ([(3, 2), (3, 1)], 7),
        ([(3, 1, 2)], 5),
        ([(3, 1), (3, 1, 2), (3, 1, 4)], 15),
        ([(7, 2), (3, 2)], 11),
        ([(2, 2)] * 5, 32),
        ([(3, 1), (3, 1), (2, 2)] * 2 + [(3, 1), (3, 1), (3, 1), (2, 2)] * 3, 212),
    ],
)
def test_the_receptive_field_of_a_chain(layers, field) -> None:
    assert receptive_field(layers) == field


def test_each_layer_adds_its_reach_times_the_jump_before_it() -> None:
    assert arithmetic.grow(1, 1, 3, 2) == (3, 2)
    assert arithmetic.grow(3, 2, 3, 2) == (7, 4)
    assert arithmetic.grow(7, 4, 3, 1, 2) == (23, 4)


@LAW
@given(KERNEL, STRIDE, DILATION)
def test_what_a_transposed_convolution_sees_is_found_by_trying(kernel, stride, dilation) -> None:
    def behind(place: int) -> list[int]:
        taps = {place - dilation * tap for tap in range(kernel)}
        return [index for index in range(40) if stride * index in taps]

    seen = [behind(place) for place in range(20, 20 + stride * 4)]
    most = max(found[-1] - found[0] + 1 for found in seen if found)
    assert transposed_field(kernel, stride, dilation) == most
