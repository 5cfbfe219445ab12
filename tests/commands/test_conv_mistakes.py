from __future__ import annotations

import pytest

from cnnctl.commands import conv

NUMBERS = "a whole number from 1 to 99999"
SIDES = f"{NUMBERS} or two such as 1x7"


def mistakes(cnnctl, *words: str) -> list[str]:
    code, out, err = cnnctl("conv", *words)
    assert (code, out) == (2, "")
    return [line.removeprefix("cnnctl: error: ") for line in err.splitlines()]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["8", "kernel=x"], f"kernel must be {SIDES}, got 'x'"),
        (["8", "kernel=0"], f"kernel must be {SIDES}, got '0'"),
        (["8", "kernel=100000"], f"kernel must be {SIDES}, got '100000'"),
        (["8", "kernel=1x2x3"], f"kernel must be {SIDES}, got '1x2x3'"),
        (["8", "kernel=3", "stride=-1"], f"stride must be {SIDES}, got '-1'"),
        (["8", "kernel=3", "dilation=1.5"], f"dilation must be {SIDES}, got '1.5'"),
        (["8", "kernel=3", "filters=0"], f"filters must be {NUMBERS}, got '0'"),
        (["8", "kernel=3", "groups=1x1"], f"groups must be {NUMBERS}, got '1x1'"),
        (["8", "kernel=3", "bias=yes"], "bias must be one of true, false, got 'yes'"),
        (
            ["8", "kernel=3", "pool=mx"],
            "pool must be one of max, avg, got 'mx' (did you mean 'max'?)",
        ),
        (
            ["8", "kernel=3", "padding=smae"],
            (
                "padding must be a whole number from 0 to 99999 or two such as 1x7 or"
                " one of same, valid, full, got 'smae' (did you mean 'same'?)"
            ),
        ),
        (["8", "kernel=3", "kernl=3"], "unknown key 'kernl' (did you mean 'kernel'?)"),
        (["8", "kernel=3", "+bias=true"], "unknown key '+bias' (did you mean 'bias'?)"),
        (["8", "kernel=3", "zoom=3"], f"unknown key 'zoom' (keys: {', '.join(conv.KEYS)})"),
        (["8", "kernel=3", "kernel=5"], "kernel is given more than once"),
        (["8"], "missing key 'kernel' (such as kernel=3)"),
        (["8", "kernel=3", "--stack", "0"], "--stack must be from 1 to 100, got '0'"),
        (["8", "kernel=3", "--stack", "101"], "--stack must be from 1 to 100, got '101'"),
        (["8", "kernel=3", "--stack=2x2"], "--stack must be from 1 to 100, got '2x2'"),
        (["8", "kernel=3", "--stack="], "--stack must be from 1 to 100, got ''"),
        (
            ["kernel=3"],
            "conv takes one input, got none (such as: cnnctl conv 32x32x3 kernel=5 filters=10)",
        ),
        (
            ["8", "9", "kernel=3"],
            "conv takes one input, got 8 and 9 (such as: cnnctl conv 32x32x3 kernel=5 filters=10)",
        ),
    ],
)
def test_a_mistake_is_one_line(cnnctl, words: list[str], line: str) -> None:
    assert mistakes(cnnctl, *words) == [line]


@pytest.mark.parametrize("word", ["32x", "32x32x3x1", "0x7", "7x7x0", "7,7", "x", "٣x3", "7 x 7"])
def test_a_faulty_input_is_told(cnnctl, word: str) -> None:
    assert mistakes(cnnctl, word, "kernel=3") == [
        (
            f"the input must be HEIGHTxWIDTHxCHANNELS, whole numbers from 1 to 99999, got '{word}'"
            " (such as 32x32x3)"
        )
    ]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            ["pool=max", "filters=3", "bias=true"],
            ["filters has no effect on a pool", "bias has no effect on a pool"],
        ),
        (["pool=avg", "dilation=1"], ["dilation has no effect on an average pool"]),
        (["pool=max", "transposed=true"], ["transposed has no effect on a pool"]),
        (
            ["transposed=true", "reduce=2"],
            ["reduce has no effect on a transposed convolution"],
        ),
        (
            ["output_padding=1"],
            ["output_padding has no effect on a convolution without transposed=true"],
        ),
        (
            ["transposed=true", "--stack", "2"],
            ["--stack is for layers that are not transposed"],
        ),
    ],
)
def test_what_has_no_effect_is_told(cnnctl, words: list[str], lines: list[str]) -> None:
    assert mistakes(cnnctl, "8x8x3", "kernel=3", *words)[: len(lines)] == lines


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["kernel=4", "padding=same"],
            "padding=same needs D(K − 1)/2 to be whole, got 1.5 (use an odd kernel)",
        ),
        (
            ["kernel=3x2", "padding=same"],
            "padding=same needs D(K − 1)/2 to be whole, got 0.5 (use an odd kernel)",
        ),
        (
            ["kernel=3", "padding=same", "stride=2x1"],
            "padding=same needs stride=1, got 2×1 (give it as a number)",
        ),
        (
            ["kernel=3", "padding=full", "transposed=true"],
            "padding of a transposed convolution must be a number, got 'full'",
        ),
        (
            ["kernel=3", "padding=full", "pool=max"],
            "padding of a pool must be at most 1, half its kernel, got 2",
        ),
        (
            ["kernel=3", "groups=2", "filters=4"],
            "groups must divide 3 channels and 4 filters, got 2 (such as groups=1)",
        ),
    ],
)
def test_numbers_that_do_not_go_together_are_told(cnnctl, words: list[str], line: str) -> None:
    assert mistakes(cnnctl, "8x8x3", *words) == [line]


def test_an_even_kernel_with_an_even_dilation_can_keep_the_size(cnnctl) -> None:
    words = ("8", "kernel=2", "dilation=2", "padding=same", "--json")
    assert cnnctl("conv", *words).document["result"]["output"] == [8, 8, 1]


def test_everything_that_is_wrong_is_told_at_once(cnnctl) -> None:
    assert mistakes(cnnctl, "8x", "kernl=3", "filters=0", "pool=max", "--stack", "x") == [
        (
            "the input must be HEIGHTxWIDTHxCHANNELS, whole numbers from 1 to 99999, got '8x'"
            " (such as 32x32x3)"
        ),
        "unknown key 'kernl' (did you mean 'kernel'?)",
        f"filters must be {NUMBERS}, got '0'",
        "missing key 'kernel' (such as kernel=3)",
        "--stack must be from 1 to 100, got 'x'",
    ]
    assert len(mistakes(cnnctl, "8x8x3", "kernel=4", "padding=same", "stride=2", "groups=5")) == 3
