from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from cnnctl.audit import convolution
from cnnctl.audit.convolution import Layer
from cnnctl.report import equations

SMALL = st.integers(1, 5)


def layer(**numbers: Any) -> Layer:
    usual = {"size": (32, 32), "channels": 3, "kernel": (5, 5), "filters": 10}
    return Layer(**{**usual, **numbers})


def told(given: Layer, step: str, word: str | None = None) -> list[str]:
    rows = equations.lines(given, word, convolution.fits(given))
    return [row["line"] for row in rows if row["step"] == step]


def calculated(equation: str) -> Fraction:
    """The left side of an equation, put into Python."""
    left = equation.rpartition(" = ")[0]
    for sign, python in (("·", "*"), ("−", "-"), (",", ""), ("×", "*")):
        left = left.replace(sign, python)
    assert re.fullmatch(r"[\d+\-*/() ]+", left), left
    return eval(re.sub(r"(\d+)", r"Fraction(\1)", left), {"Fraction": Fraction})  # noqa: S307 - digits and signs only


@settings(max_examples=50, deadline=None)
@drawn(st.integers(9, 40), SMALL, SMALL, st.integers(0, 3), st.integers(1, 2), st.booleans())
def test_both_sides_of_a_size_are_equal(
    size, kernel, stride, padding, dilation, transposed
) -> None:
    given = layer(
        size=(size, size),
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(dilation, dilation),
        transposed=transposed,
        output_padding=(stride - 1, stride - 1) if transposed else (0, 0),
    )
    equation = equations.size(given, 0)
    assert calculated(equation) == given.out(0)
    assert equation.endswith(f" = {equations.decimal(given.out(0))}")


@settings(max_examples=50, deadline=None)
@drawn(st.lists(st.integers(1, 6), min_size=6, max_size=6), st.booleans())
def test_both_sides_of_parameters_operations_and_memory_are_equal(numbers, bias) -> None:
    groups, channels, filters, kernel, size, stride = numbers
    given = layer(
        size=(size + 9, size + 12), channels=groups * channels, filters=groups * filters,
        kernel=(kernel, 2), stride=(stride, 1), groups=groups, bias=bias,
    )  # fmt: skip
    each, total = told(given, "parameters")
    each = each.partition(" weights")[0]
    assert calculated(each) * given.filters == given.weights
    assert calculated(re.sub(" filters?", "", total)) == given.params
    assert total.endswith(f" = {given.params:,}")
    macs, flops = told(given, "multiply-adds")
    assert calculated(macs.replace(" outputs", "")) == given.macs
    assert calculated(flops.removeprefix("FLOPs: ")) == 2 * given.macs


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (32, "32"), (-1, "−1"), (Fraction(7, 3), "2.33"), (Fraction(11, 2), "5.5"),
        (Fraction(217, 4), "54.25"), (Fraction(-1, 2), "−0.5"), (Fraction(2999, 1000), "2.999"),
        (Fraction(300_001, 100_000), "3.00001"), (Fraction(17, 8), "2.12"), (100, "100"),
    ],
)  # fmt: skip
def test_a_fraction_never_looks_whole(value, text) -> None:
    assert equations.decimal(value) == text


@pytest.mark.parametrize(
    ("numbers", "lines"),
    [
        (
            {},
            ["5×5 convolution · 10 filters · stride 1", "32×32×3 → 28×28×10"],
        ),
        (
            {"filters": 1, "stride": (2, 1), "padding": (0, 2), "dilation": (2, 2)},
            [
                "5×5 convolution · 1 filter · stride 2×1 · padding 0×2 · dilation 2",
                "32×32×3 → 12×28×1",
            ],
        ),
        (
            {"channels": 4, "groups": 2, "transposed": True, "stride": (2, 2),
             "output_padding": (1, 1)},
            [
                "5×5 transposed convolution · 10 filters · stride 2 · output padding 1 · 2 groups",
                "32×32×4 → 68×68×10",
            ],
        ),
        (
            {"filters": 3, "pool": "avg", "stride": (5, 5), "size": (10, 5)},
            ["5×5 average pool · stride 5", "10×5×3 → 2×1×3"],
        ),
    ],
)  # fmt: skip
def test_a_layer_is_named_with_what_is_special(numbers, lines) -> None:
    assert told(layer(**numbers), "layer") == lines


@pytest.mark.parametrize(
    ("numbers", "word", "lines"),
    [
        ({}, None, []),
        ({"padding": (2, 2)}, None, []),
        ({}, "valid", ["valid: P = 0"]),
        ({"padding": (2, 2)}, "same", ["same: P = D(K − 1)/2 = (5 − 1)/2 = 2"]),
        (
            {"padding": (8, 8), "dilation": (2, 2)}, "full",
            ["full: P = D(K − 1) = 2·(5 − 1) = 8"],
        ),
        (
            {"padding": (0, 3), "kernel": (1, 7)}, "same",
            [
                "same: height = D(K − 1)/2 = (1 − 1)/2 = 0",
                "same: width = D(K − 1)/2 = (7 − 1)/2 = 3",
            ],
        ),
    ],
)  # fmt: skip
def test_padding_in_words_is_explained(numbers, word, lines) -> None:
    assert told(layer(**numbers), "padding", word) == lines


@pytest.mark.parametrize(
    ("numbers", "lines"),
    [
        ({}, ["(N − K)/S + 1", "(32 − 5)/1 + 1 = 28"]),
        ({"padding": (2, 2)}, ["(N + 2P − K)/S + 1", "(32 + 2·2 − 5)/1 + 1 = 32"]),
        (
            {"dilation": (2, 2), "size": (9, 12)},
            [
                "(N − D(K − 1) − 1)/S + 1",
                "height = (9 − 2·(5 − 1) − 1)/1 + 1 = 1",
                "width = (12 − 2·(5 − 1) − 1)/1 + 1 = 4",
            ],
        ),
        (
            {"transposed": True, "stride": (2, 2), "padding": (1, 1), "size": (7, 7)},
            [
                "(N − 1)·S − 2P + D(K − 1) + output padding + 1",
                "(7 − 1)·2 − 2·1 + 1·(5 − 1) + 0 + 1 = 15",
            ],
        ),
        (
            {"size": (8, 7), "kernel": (3, 4), "stride": (3, 3)},
            [
                "(N − K)/S + 1",
                "fractions are illegal: height = (8 − 3)/3 + 1 = 2.67",
                "width = (7 − 4)/3 + 1 = 2",
                "torch rounds down to 2×2",
                "never seen: the last 2 rows",
                "what fits the height: padding 2 · stride 1 or 5 · input 6 or 9",
            ],
        ),
        (
            {"size": (7, 7), "kernel": (2, 2), "stride": (2, 2), "padding": (1, 1)},
            [
                "(N + 2P − K)/S + 1",
                "fractions are illegal: (7 + 2·1 − 2)/2 + 1 = 4.5",
                "torch rounds down to 4×4",
                "never seen: padding only",
                "what fits: stride 1 or 7 · input 6 or 8",
            ],
        ),
        (
            {"size": (8, 8), "kernel": (3, 3), "stride": (4, 4), "padding": (1, 1)},
            [
                "(N + 2P − K)/S + 1",
                "fractions are illegal: (8 + 2·1 − 3)/4 + 1 = 2.75",
                "torch rounds down to 2×2",
                "never seen: the last 2 rows and the last 2 columns",
                "what fits: stride 1 or 7 · input 5 or 9",
            ],
        ),
    ],
)
def test_the_size_is_worked_out(numbers, lines) -> None:
    assert told(layer(**numbers), "output size") == lines


def test_groups_biases_and_transposed_weights_are_shown() -> None:
    grouped = layer(channels=64, filters=32, groups=4, bias=False, kernel=(3, 3))
    assert told(grouped, "parameters") == [
        "3·3·(64/4) = 144 weights a filter", "32 filters · 144 = 4,608",
    ]  # fmt: skip
    up = layer(channels=64, filters=32, groups=4, kernel=(3, 3), transposed=True, size=(7, 7))
    assert told(up, "multiply-adds")[0] == "7·7·64 inputs · 3·3·(32/4) = 225,792"
    assert up.macs == 225_792


def test_a_pool_has_neither_parameters_nor_multiply_adds() -> None:
    pools = [layer(filters=3, pool=kind, kernel=(2, 3)) for kind in ("max", "avg")]
    assert [told(pool, "parameters") for pool in pools] == [["none: a pool learns nothing"]] * 2
    assert [told(pool, "multiply-adds") for pool in pools] == [
        ["none: the largest of 2·3 = 6 values is kept"],
        ["none: the mean of 2·3 = 6 values is kept"],
    ]


@pytest.mark.parametrize(
    ("filters", "line"),
    [
        (10, "32·32·10 = 10,240 values · 4 bytes = 0.041 MB (float32)"),
        (1, "32·32·1 = 1,024 values · 4 bytes = 0.004 MB (float32)"),
        (64_000, "32·32·64000 = 65,536,000 values · 4 bytes = 262.144 MB (float32)"),
    ],
)
def test_memory_has_its_unit(filters, line) -> None:
    assert told(layer(filters=filters, padding=(2, 2)), "memory") == [line]
    quarter = layer(size=(5, 5), filters=250)
    assert told(quarter, "memory") == ["1·1·250 = 250 values · 4 bytes = 0.001 MB (float32)"]
    assert told(layer(size=(5, 5)), "memory") == [
        "1·1·10 = 10 values · 4 bytes = 40 bytes (float32)"
    ]
