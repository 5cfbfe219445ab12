from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.config.read import read
from cnnctl.config.schema import key, section

LEVELS = "must be one of low, high"
PAIR = "a list of 2 numbers"
SHAPES = "must be one of dot, square"
DOT = "(did you mean 'dot'?)"
Level = Literal["low", "high"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    name: str = key("which")


@dataclass(frozen=True, kw_only=True)
class Square(Shape):
    side: float = key("length", above=0)


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = key("share", min=0, below=1)
    pair: tuple[float, float] = key("two numbers", min=0, max=1)


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: int = key("how many", min=1, max=2**32 - 1)
    level: Level = key("how strong")
    maybe: float | None = key("perhaps", above=0)
    inner: Inner = field(metadata={"help": "a section"})
    shape: Shape = section("one of several", {"dot": Shape, "square": Square})
    spare: Shape | None = section("one or none", {"dot": Shape, "square": Square})
    free: dict[str, Any] = field(metadata={"help": "any keys"})


def data(**changes: Any) -> dict[str, Any]:
    return {
        "count": 3,
        "level": "low",
        "maybe": None,
        "inner": {"rate": 0, "pair": [0, 1]},
        "shape": {"name": "square", "side": 2},
        "spare": None,
        "free": {"a": 1},
        **changes,
    }


def told(**changes: Any) -> list[tuple[str, str | None]]:
    value, problems = read(Outer, data(**changes))
    assert (value is None) == bool(problems)
    return [(str(problem), problem.key) for problem in problems]


def test_a_dict_becomes_frozen_dataclasses() -> None:
    value, problems = read(Outer, data())
    assert problems == []
    assert value == Outer(
        count=3,
        level="low",
        maybe=None,
        inner=Inner(rate=0.0, pair=(0.0, 1.0)),
        shape=Square(name="square", side=2.0),
        spare=None,
        free={"a": 1},
    )
    assert isinstance(value.inner.rate, float)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (None, None),
        ({"name": "dot"}, Shape(name="dot")),
        ({"name": "square", "side": 3}, Square(name="square", side=3.0)),
    ],
)
def test_a_section_that_may_be_left_out_is_null_or_a_variant(given, value) -> None:
    outer, problems = read(Outer, data(spare=given))
    assert problems == []
    assert outer is not None
    assert (type(outer.spare), outer.spare) == (type(value), value)


@pytest.mark.parametrize(
    ("changes", "about", "text"),
    [
        ({"cuont": 1}, "cuont", "unknown key '{}' (did you mean 'count'?)"),
        ({"xyz": 1}, "xyz", "unknown key '{}'"),
        ({"count": 0}, "count", "{} must be at least 1, got 0"),
        ({"count": 2**32}, "count", "{} must be at most 4294967295, got 4294967296"),
        ({"count": 1.0}, "count", "{} must be a whole number, got 1.0"),
        ({"count": True}, "count", "{} must be a whole number, got true"),
        ({"count": "1"}, "count", "{} must be a whole number, got '1'"),
        ({"level": "hig"}, "level", f"{{}} {LEVELS}, got 'hig' (did you mean 'high'?)"),
        ({"level": 3}, "level", f"{{}} {LEVELS}, got 3"),
        ({"level": None}, "level", f"{{}} {LEVELS}, got null"),
        ({"maybe": 0}, "maybe", "{} must be above 0, got 0"),
        ({"maybe": "x"}, "maybe", "{} must be a number or null, got 'x'"),
        ({"inner": 5}, "inner", "{} must be a section, got 5"),
        ({"inner": {"rate": 1, "pair": [0, 1]}}, "inner.rate", "{} must be below 1, got 1"),
        ({"inner": {"rate": 0, "pair": [0, 2]}}, "inner.pair", "{} must be at most 1, got [0, 2]"),
        ({"inner": {"rate": 0, "pair": 3}}, "inner.pair", f"{{}} must be {PAIR}, got 3"),
        ({"inner": {"pair": [0, 1]}}, "inner.rate", "missing key '{}'"),
        ({"shape": {"name": "dt"}}, "shape.name", f"{{}} {SHAPES}, got 'dt' (did you mean 'dot'?)"),
        ({"shape": {"name": ["dot"]}}, "shape.name", f"{{}} {SHAPES}, got ['dot']"),
        ({"shape": {}}, "shape.name", f"{{}} {SHAPES}, got null"),
        ({"shape": {"name": "dot", "side": 1}}, "shape.side", "unknown key '{}'"),
        ({"shape": {"name": "square"}}, "shape.side", "missing key '{}'"),
        ({"shape": "square"}, "shape", "{} must be a section, got 'square'"),
        ({"shape": None}, "shape", "{} must be a section, got null"),
        ({"spare": {}}, "spare.name", f"{{}} {SHAPES}, got null"),
        ({"spare": {"name": "dto"}}, "spare.name", f"{{}} {SHAPES}, got 'dto' {DOT}"),
        ({"spare": {"name": "square", "side": 0}}, "spare.side", "{} must be above 0, got 0"),
        ({"spare": {"name": "dot", "side": 1}}, "spare.side", "unknown key '{}'"),
        ({"spare": "dot"}, "spare", "{} must be a section or null, got 'dot'"),
        ({"spare": 0}, "spare", "{} must be a section or null, got 0"),
        ({"free": [1]}, "free", "{} must be a section, got [1]"),
        ({"free": None}, "free", "{} must be a section, got null"),
    ],
)  # fmt: skip
def test_one_fault_one_line(changes, about, text) -> None:
    assert told(**changes) == [(text.format(about), about)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_are_finite(value) -> None:
    assert told(maybe=value) == [(f"maybe must be a number or null, got {value}", "maybe")]


def test_every_problem_is_named_with_its_place() -> None:
    inner = {"rate": -1, "pair": 1, "rtae": 0}
    _, problems = read(Inner, inner, "a.b")
    assert [str(problem) for problem in problems] == [
        "unknown key 'a.b.rtae' (did you mean 'a.b.rate'?)",
        "a.b.rate must be at least 0, got -1",
        "a.b.pair must be a list of 2 numbers, got 1",
    ]


def test_an_empty_dict_misses_every_key() -> None:
    _, problems = read(Outer, {})
    keys = [problem.key for problem in problems]
    assert keys == ["count", "level", "maybe", "inner", "shape", "spare", "free"]


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
        max_leaves=5,
    ),
    st.sampled_from(list(data())),
)
def test_no_value_at_all_ends_in_a_traceback(value, name) -> None:
    result, problems = read(Outer, data(**{name: value}))
    assert (result is None) == bool(problems)
    assert all(str(problem.key).partition(".")[0] == name for problem in problems)


@dataclass(frozen=True, kw_only=True)
class Words:
    levels: tuple[Level, ...] | None = key("several")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["low", "hgih"], f"each of levels {LEVELS}, got 'hgih' (did you mean 'high'?)"),
        (["zzzzz", "low"], f"each of levels {LEVELS}, got 'zzzzz'"),
        ([3], f"each of levels {LEVELS}, got 3"),
        ("low", "levels must be a list of low, high or null, got 'low'"),
    ],
)
def test_an_unknown_word_in_a_list_is_named_with_the_nearest(given: Any, text: str) -> None:
    value, problems = read(Words, {"levels": given})
    assert value is None
    assert [(str(problem), problem.key) for problem in problems] == [(text, "levels")]


def test_a_list_of_words_becomes_a_tuple() -> None:
    assert read(Words, {"levels": ["low", "high"]})[0] == Words(levels=("low", "high"))
    assert read(Words, {"levels": None})[0] == Words(levels=None)
