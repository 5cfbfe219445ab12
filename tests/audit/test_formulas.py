from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cnnctl.audit import formulas
from cnnctl.audit.formulas import FormulaError, evaluate

CALLS = {
    "add": lambda *numbers, more=0: sum(numbers) + more,
    "same": lambda value: value,
    "names": lambda **values: sorted(values),
}
SMALL = st.integers(-9, 9)


def table(rows: int, columns: int) -> st.SearchStrategy[list[list[int]]]:
    row = st.lists(SMALL, min_size=columns, max_size=columns)
    return st.lists(row, min_size=rows, max_size=rows)


def convolved(image: list[list[int]], kernel: list[list[int]]) -> list[list[int]]:
    """What torch makes of the same picture and filter."""
    picture, weights = (torch.tensor([[rows]], dtype=torch.float64) for rows in (image, kernel))
    return functional.conv2d(picture, weights)[0, 0].int().tolist()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("-7", -7), ("--7", 7), ("0.5", Fraction(1, 2)), ("2.0", 2), ("'vgg'", "vgg"),
        ("True", True), ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("7 - 10", -3), ("6 / 3", 2),
        ("1 / 3", Fraction(1, 3)), ("26.2 - 15.3", Fraction(109, 10)),
        ("1.1 ** 2", Fraction(121, 100)),
        ("2 ** 20", 1048576), ("2 ** 0", 1), ("[]", []),
        ("[1, 'a', [2.5]]", [1, "a", [Fraction(5, 2)]]),
        ("[4, 5, 6][1]", 5), ("[[1, 2], [3, 4]][1][0]", 3), ("[4, 5][2 - 1]", 5),
        ("add()", 0), ("add(1, 2, more=3)", 6), ("add(add(1), more=-1)", 0),
        ("same([1, 2])", [1, 2]),
        ("same('a')", "a"), ("same([7, 8])[0] + 1", 8), ("names(b=1, a=2)", ["a", "b"]),
    ],
)  # fmt: skip
def test_what_the_language_has(text: str, value: object) -> None:
    found = evaluate(text, CALLS)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "().__class__", "'a'.upper()", "add.__globals__", "add.__call__(1)", "same(1).real",
        "[].append(1)", "__import__('os')", "open('/etc/passwd')", "eval('1')", "print(1)", "add",
        "x", "None", "...", "1j", "b'a'", "(1, 2)", "{1: 2}", "{1}", "[i for i in [1]]",
        "sum(i for i in [1])", "lambda: 1", "(lambda: 1)()", "add(1)(2)", "[add][0](1)",
        "1 if 1 else 2", "1 < 2", "1 == 1", "1 and 2", "not 1", "~1", "+1", "7 // 2", "7 % 2",
        "1 @ 2", "1 << 2", "1 | 2", "f'{1}'", "(x := 1)", "add(*[1, 2])", "names(**{'a': 1})",
        "[*[1]]", "[1][0:1]", "[1, 2][0, 1]", "await x", "(yield)",
    ],
)  # fmt: skip
def test_what_it_has_not(text: str) -> None:
    with pytest.raises(FormulaError, match="of the language"):
        evaluate(text, CALLS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no formula"), ("1 +", "is no formula: invalid syntax"),
        ("1; 2", "is no formula"),
        ("import os", "is no formula"), ("x = 1", "is no formula"),
        ("'a' * 9", "''a'' must be a number"), ("[1] * 9", r"'\[1\]' must be a number"),
        ("'a' + 'b'", "''a'' must be a number"), ("-'a'", "''a'' must be a number"),
        ("True + 1", "'True' must be a number"),
        ("1 - same([])", r"'same\(\[\]\)' must be a number"),
        ("2 ** 65", "a power must be a whole number of 0 to 64, got 65"),
        ("9 ** 9 ** 9", "got 387420489"), ("2 ** -1", "got -1"), ("4 ** 0.5", "got 1/2"),
        ("[1][1]", r"\[1\] has no item 1"), ("[1][-1]", "has no item -1"),
        ("[1]['a']", "has no item a"), ("[1, 2][True]", "has no item True"),
        ("'abc'[0]", "abc has no item 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_says_why(text: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        evaluate(text, CALLS)


def test_a_division_by_zero_is_one() -> None:
    with pytest.raises(ZeroDivisionError):
        evaluate("1 / (2 - 2)", CALLS)


@settings(deadline=None, max_examples=50)
@given(st.decimals(0, 1000, places=4), st.decimals(0, 1000, places=4))
def test_decimals_are_exact(left, right) -> None:
    assert evaluate(f"{left} - {right}", CALLS) == Fraction(str(left)) - Fraction(str(right))
    assert evaluate(f"{left} * {right}", CALLS) == Fraction(str(left)) * Fraction(str(right))


@settings(deadline=None, max_examples=50)
@given(st.recursive(SMALL, lambda part: st.lists(part, max_size=3), max_leaves=8))
def test_numbers_and_lists_come_back_as_they_are_written(value: object) -> None:
    assert evaluate(repr(value), {}) == value


@pytest.mark.parametrize(
    ("given", "found"),
    [(3, 3), (Fraction(6, 2), 3), (Fraction(7, 3), Fraction(7, 3)), (Fraction(0), 0), (-4, -4)],
)
def test_a_whole_number_is_an_int(given: int | Fraction, found: int | Fraction) -> None:
    assert formulas.plain(given) == found
    assert type(formulas.plain(given)) is type(found)


@settings(deadline=None, max_examples=50)
@given(st.data(), st.integers(1, 5), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3))
def test_a_filter_answers_as_torchs_convolution(data, high, wide, below, beside) -> None:
    kernel = data.draw(table(high, wide))
    image = data.draw(table(high + below, wide + beside))
    assert formulas.correlate(image, kernel) == convolved(image, kernel)


@settings(deadline=None, max_examples=50)
@given(st.data(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 4), st.integers(0, 4))
def test_a_pool_answers_as_torchs(data, side, stride, below, beside) -> None:
    image = data.draw(table(side + below, side + beside))
    found = functional.max_pool2d(torch.tensor([[image]], dtype=torch.float64), side, stride)
    assert formulas.max_pool(image, side, stride) == found[0, 0].int().tolist()


@pytest.mark.parametrize(
    ("kernel", "divisor", "gain"),
    [([[1, 2], [3, 4]], 1, 10), ([[1, 1], [1, 1]], 4, 1), ([[1, 0], [0, 0]], 3, Fraction(1, 3))],
)
def test_a_filter_multiplies_a_flat_region(kernel, divisor: int, gain: int | Fraction) -> None:
    assert formulas.kernel_sum(kernel, divisor) == gain


def test_the_largest_and_the_smallest_are_told_by_name() -> None:
    figures = {"a": Fraction(1, 3), "b": Fraction(1, 2), "c": 0}
    assert (formulas.largest(**figures), formulas.smallest(**figures)) == ("b", "c")
    assert formulas.largest(first=1, second=1) == "first"
