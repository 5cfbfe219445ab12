from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cnnctl.audit import convolution
from cnnctl.audit.convolution import Layer, alternatives, fits, misfits, seen, stack

LAW = settings(max_examples=50, deadline=None)


def layer(**numbers: Any) -> Layer:
    usual = {"size": (8, 8), "channels": 1, "kernel": (3, 3), "filters": 1}
    return Layer(**{**usual, **numbers})


def pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Any layer that torch can build, with something left of its input."""
    kind = draw(st.sampled_from(["convolution", "transposed", "max", "avg"]))
    groups = draw(st.integers(1, 3))
    kernel, dilation, stride = draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(1, 4))
    pool = kind if kind in ("max", "avg") else None
    padding, more = draw(pairs(0, 3)), draw(pairs(0, 3))
    channels = groups * draw(st.integers(1, 3))
    found = Layer(
        size=draw(pairs(1, 12)),
        channels=channels,
        kernel=kernel,
        filters=channels if pool else groups * draw(st.integers(1, 3)),
        stride=stride,
        padding=(min(padding[0], kernel[0] // 2), min(padding[1], kernel[1] // 2))
        if pool
        else padding,
        dilation=(1, 1) if pool == "avg" else dilation,
        groups=1 if pool else groups,
        bias=not pool and draw(st.booleans()),
        transposed=kind == "transposed",
        output_padding=(min(more[0], stride[0] - 1), min(more[1], stride[1] - 1))
        if kind == "transposed"
        else (0, 0),
        pool=pool,
    )
    least = 1 if found.transposed else 0
    bigger = Layer(**{**vars(found), "size": tuple(side + 24 * least + 9 for side in found.size)})
    return found if min(found.out(0), found.out(1)) >= 1 else bigger


def in_torch(given: Layer) -> nn.Module:
    if given.pool == "max":
        return nn.MaxPool2d(given.kernel, given.stride, given.padding, given.dilation)
    if given.pool == "avg":
        return nn.AvgPool2d(given.kernel, given.stride, given.padding)
    numbers: dict[str, Any] = {
        name: getattr(given, name) for name in ("stride", "padding", "dilation", "groups", "bias")
    }
    if given.transposed:
        numbers["output_padding"] = given.output_padding
    kind = nn.ConvTranspose2d if given.transposed else nn.Conv2d
    return kind(given.channels, given.filters, given.kernel, device="meta", **numbers)


@LAW
@given(layers())
def test_a_layer_is_as_large_as_in_torch_and_learns_as_much(given: Layer) -> None:
    net = in_torch(given)
    out = net(torch.empty(1, given.channels, *given.size, device="meta"))
    assert out.shape == (1, given.filters, *given.output)
    assert given.params == sum(parameter.numel() for parameter in net.parameters())
    weights = [value for name, value in net.named_parameters() if name == "weight"]
    assert given.weights == sum(value.numel() for value in weights)


@pytest.mark.parametrize(
    ("numbers", "output", "exact"),
    [
        ({"size": (7, 7), "stride": (3, 3)}, (2, 2), False),
        ({"size": (7, 6), "stride": (3, 3)}, (2, 2), False),
        ({"size": (6, 9), "stride": (3, 3)}, (2, 3), True),
        ({"size": (7, 7), "stride": (3, 3), "transposed": True}, (21, 21), True),
    ],
)
def test_a_layer_is_exact_where_no_division_leaves_a_remainder(numbers, output, exact) -> None:
    assert layer(**numbers).output == output
    assert layer(**numbers).exact is exact


def test_a_pool_costs_nothing_and_a_transposed_convolution_by_its_input() -> None:
    pool = layer(channels=5, filters=5, pool="max", bias=False)
    assert (pool.params, pool.weights, pool.macs) == (0, 0, 0)
    up = layer(channels=2, filters=3, stride=(2, 2), transposed=True)
    assert (up.params, up.weights, up.macs) == (57, 54, 8 * 8 * 54)
    assert layer(channels=2, filters=3).macs == 6 * 6 * 54


def gradient_field(chain: list[Layer], axis: int) -> int:
    """The first to the last pixel with a gradient of the middle output, of weights of one."""
    axes = zip(chain, [one.axis(axis) for one in chain], strict=True)
    pixels = torch.zeros(1, 1, 64, dtype=torch.double, requires_grad=True)
    value = pixels
    for _, (_, kernel, stride, padding, dilation) in axes:
        ones = torch.ones(1, 1, kernel, dtype=torch.double)
        value = nn.functional.conv1d(value, ones, None, stride, padding, dilation)
    value[0, 0, value.shape[2] // 2].backward()
    assert pixels.grad is not None
    touched = pixels.grad[0, 0].nonzero()
    return int(touched.max() - touched.min()) + 1


@LAW
@given(pairs(1, 4), pairs(1, 2), pairs(1, 2), st.integers(1, 3))
def test_what_a_stack_sees_is_what_has_a_gradient(kernel, stride, dilation, times) -> None:
    first = layer(size=(64, 64), kernel=kernel, stride=stride, dilation=dilation)
    chain = stack(first, times)
    field, jump = seen(chain)[-1]
    assert field == (gradient_field(chain, 0), gradient_field(chain, 1))
    assert jump == (stride[0] ** times, stride[1] ** times)
    assert seen(chain)[0][0] == (first.field(0), first.field(1))


def test_a_stack_goes_on_with_the_maps_and_the_size_of_the_layer_below() -> None:
    chain = stack(layer(size=(9, 12), channels=3, filters=8, stride=(2, 1), padding=(1, 0)), 3)
    assert [(one.size, one.channels, one.filters) for one in chain] == [
        ((9, 12), 3, 8), ((5, 10), 8, 8), ((3, 8), 8, 8),
    ]  # fmt: skip
    assert [one.output for one in chain] == [(5, 10), (3, 8), (2, 6)]


def test_what_would_fit_is_told_once_where_both_axes_are_alike() -> None:
    assert fits(layer(size=(7, 7), stride=(3, 3))) == [
        {"axis": "both", "padding": [1], "stride": [2, 4], "input": [6, 9]}
    ]
    assert fits(layer(size=(7, 8), stride=(3, 3))) == [
        {"axis": "height", "padding": [1], "stride": [2, 4], "input": [6, 9]},
        {"axis": "width", "padding": [2], "stride": [1, 5], "input": [6, 9]},
    ]
    assert fits(layer(size=(6, 7), stride=(3, 3))) == [
        {"axis": "width", "padding": [1], "stride": [2, 4], "input": [6, 9]}
    ]
    assert fits(layer(size=(6, 6), stride=(3, 3))) == []


def test_a_pool_is_padded_by_half_its_kernel_at_most() -> None:
    numbers: dict[str, Any] = {"size": (8, 8), "stride": (3, 3)}
    assert fits(layer(**numbers))[0]["padding"] == [2]
    assert fits(layer(**numbers, pool="max"))[0]["padding"] == []


@LAW
@given(layers())
def test_alternatives_end_with_the_size_and_the_maps_of_the_layer(given: Layer) -> None:
    for parts in alternatives(given, reduce=1).values():
        assert (parts[0].size, parts[0].channels) == (given.size, given.channels)
        for below, above in pairwise(parts):
            assert (above.size, above.channels) == (below.output, below.filters)
        assert (parts[-1].output, parts[-1].filters) == (given.output, given.filters)


@LAW
@given(layers())
def test_what_torch_builds_has_no_misfits(given: Layer) -> None:
    assert list(misfits(given)) == []


@pytest.mark.parametrize(
    ("numbers", "reduce", "text"),
    [
        (
            {"channels": 12, "filters": 8, "groups": 3}, None,
            "groups must divide 12 channels and 8 filters, got 3 (such as groups=2)",
        ),
        (
            {"channels": 3}, 4,
            "reduce must be at most 3, the channels of the input, got 4",
        ),
        (
            {"pool": "max", "kernel": (2, 3), "padding": (1, 2)}, None,
            "padding of a pool must be at most 1, half its kernel, got 2",
        ),
        (
            {"transposed": True, "output_padding": (2, 2), "dilation": (2, 2)}, None,
            "output_padding must be below stride or dilation, 2, got 2",
        ),
    ],
)  # fmt: skip
def test_numbers_that_do_not_go_together_are_told_once(numbers, reduce, text) -> None:
    assert [str(problem) for problem in misfits(layer(**numbers), reduce)] == [text]


def test_names_of_the_axes() -> None:
    assert convolution.AXES == ("height", "width")
    wide = layer(size=(4, 9), kernel=(1, 2))
    assert (wide.axis(0).size, wide.axis(1).size) == (4, 9)
    assert math.prod(wide.output) == 32
