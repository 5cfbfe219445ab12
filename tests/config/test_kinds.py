from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pytest

from cnnctl.config.duration import Duration
from cnnctl.config.kinds import Mismatch, alternatives, choices, convert, kind, show

LENGTH = "a length such as 5epochs, 100steps, 10% or 0"
Word = Literal["red", "green"]
Devices = int | tuple[int, ...] | Literal["auto"]


class Pair(NamedTuple):
    left: int
    right: int


@pytest.mark.parametrize(
    ("value", "hint", "typed"),
    [
        (1, float, 1.0),
        (1e-3, float, 0.001),
        (None, int | None, None),
        (3, Devices, 3),
        ([0, 1], Devices, (0, 1)),
        ("auto", Devices, "auto"),
        ([], tuple[int, ...], ()),
        (["red", "red"], tuple[Word, ...], ("red", "red")),
        ((1, 2), tuple[float, ...], (1.0, 2.0)),
        (False, bool, False),
        ("10%", Duration, Duration(10, "%")),
        (3, Literal[1, 3], 3),
    ],
)
def test_values_that_fit(value, hint, typed) -> None:
    converted = convert(value, hint)
    assert converted == typed
    assert type(converted) is type(typed)


@pytest.mark.parametrize(
    ("value", "hint", "wanted"),
    [
        (True, float, "a number"),
        (1, bool, "true or false"),
        (1, str, "text"),
        (True, Literal[1, 3], "one of 1, 3"),
        (1.0, Literal[1, 3], "one of 1, 3"),
        ("a", Literal["b"], "b"),
        ([1, True], tuple[int, ...], "a list of whole numbers"),
        (["a", 1], tuple[str, ...], "a list of texts"),
        (["red", "blue"], tuple[Word, ...] | None, "a list of red, green or null"),
        ([1, 2, 3], tuple[float, float], "a list of 2 numbers"),
        ("12", tuple[int, ...], "a list of whole numbers"),
        ([float("nan")], tuple[float, ...], "a list of numbers"),
        ("x", Devices, "a whole number or a list of whole numbers or auto"),
        ("5days", Duration, LENGTH),
        ("200%", Duration, "at most 100%"),
        ([], dict[str, Any], "a section"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(value, hint, wanted) -> None:
    with pytest.raises(Mismatch) as caught:
        convert(value, hint)
    assert str(caught.value) == wanted


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Duration, LENGTH),
        (int | None, "a whole number or null"),
        (Literal["a", "b"] | bool, "one of a, b or true or false"),
        (Literal["a"], "a"),
        (tuple[float, ...], "a list of numbers"),
        (tuple[int, int, int], "a list of 3 whole numbers"),
        (tuple[str, ...] | None, "a list of texts or null"),
        (tuple[Word, ...] | None, "a list of red, green or null"),
        (tuple[Word, ...], "a list of red, green"),
        (tuple[Pair, ...], "a list of rows"),
        (tuple[tuple[int, ...], ...], "a list of rows"),
        (dict[str, Any], "a section"),
    ],
)
def test_an_annotation_in_words(hint, words) -> None:
    assert kind(hint) == words


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (tuple[Word, ...], ("red", "green")), (tuple[Word, ...] | None, ("red", "green")),
        (Word, ()), (tuple[int, ...], ()), (int | None, ()), (str, ()), (tuple[Word, Word], ()),
    ],
)  # fmt: skip
def test_the_words_of_a_list(hint, words) -> None:
    assert choices(hint) == words


@pytest.mark.parametrize(
    ("options", "words"),
    [(["a"], "a"), (("a", 1), "one of a, 1"), ({"x": 0, "y": 0}, "one of x, y")],
)
def test_one_alternative_is_itself_and_several_are_listed(options, words) -> None:
    assert alternatives(options) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "'a'"), (None, "null"), (True, "true"), (False, "false"), (1.5, "1.5"), ([1], "[1]")],
)
def test_values_are_shown_as_typed(value, text) -> None:
    assert show(value) == text
