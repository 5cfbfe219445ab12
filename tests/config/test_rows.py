from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.config.read import read
from cnnctl.config.rows import is_table
from cnnctl.config.schema import key

STAGE = "want 5 numbers (expand, kernel, stride, channels, layers)"
LAYER = "want 3 values (name, rate, bias)"
MBCONV = [[1, 3, 1, 16, 1], [6, 5, 2, 40, 2]]


class Stage(NamedTuple):
    expand: float
    kernel: int
    stride: int
    channels: int
    layers: int


class Layer(NamedTuple):
    name: Literal["conv", "pool"]
    rate: float
    bias: bool | None


class Block(NamedTuple):
    maps: tuple[int, ...]
    stride: int


@dataclass(frozen=True, kw_only=True)
class Net:
    stages: tuple[Stage, ...] = key("rows of numbers", min=1, max=640)
    layers: tuple[Layer, ...] = key("rows of values", below=1)
    levels: tuple[tuple[Block, ...], ...] = key("rows of rows", min=1)
    widths: tuple[tuple[int, ...], ...] = key("rows of any length", min=1)
    sizes: tuple[tuple[int, int], ...] = key("rows of two", min=0)


def data(**changes: Any) -> dict[str, Any]:
    tables = {
        "stages": MBCONV,
        "layers": [["conv", 0, True], ["pool", 0.5, None]],
        "levels": [[[[8, 8], 1]], [[[16], 2], [[32, 32], 1]]],
        "widths": [[4, 8], [], [16]],
        "sizes": [[0, 1]],
    }
    return tables | changes


def told(**changes: Any) -> list[tuple[str, str | None]]:
    value, problems = read(Net, data(**changes), "model")
    assert (value is None) == bool(problems)
    return [(str(problem), problem.key) for problem in problems]


def test_rows_become_named_tuples_of_the_right_types() -> None:
    net, problems = read(Net, data())
    assert problems == []
    assert net == Net(
        stages=(Stage(1, 3, 1, 16, 1), Stage(6, 5, 2, 40, 2)),
        layers=(Layer("conv", 0.0, bias=True), Layer("pool", 0.5, None)),
        levels=((Block((8, 8), 1),), (Block((16,), 2), Block((32, 32), 1))),
        widths=((4, 8), (), (16,)),
        sizes=((0, 1),),
    )
    assert net.stages[1].channels == 40
    assert isinstance(net.layers[0].rate, float)
    assert isinstance(net.levels[1][0], Block)


@pytest.mark.parametrize(
    ("changes", "about", "text"),
    [
        ({"stages": [*MBCONV, [6, 5, 2, 40]]}, "stages.2", f"{{}}: {STAGE}, got [6, 5, 2, 40]"),
        ({"stages": [[1, 3, 1, 16, 1, 1]]}, "stages.0", f"{{}}: {STAGE}, got [1, 3, 1, 16, 1, 1]"),
        ({"stages": [[1, 3, 1, 16, "1"]]}, "stages.0", f"{{}}: {STAGE}, got [1, 3, 1, 16, '1']"),
        ({"stages": [[1, 3, 1, 16, 1.5]]}, "stages.0", f"{{}}: {STAGE}, got [1, 3, 1, 16, 1.5]"),
        ({"stages": [5]}, "stages.0", f"{{}}: {STAGE}, got 5"),
        ({"stages": [None]}, "stages.0", f"{{}}: {STAGE}, got null"),
        ({"stages": ["mbcon"]}, "stages.0", f"{{}}: {STAGE}, got 'mbcon'"),
        ({"stages": 5}, "stages", "{} must be a list of rows, got 5"),
        ({"stages": "6 5"}, "stages", "{} must be a list of rows, got '6 5'"),
        ({"stages": None}, "stages", "{} must be a list of rows, got null"),
        ({"stages": {"a": 1}}, "stages", "{} must be a list of rows, got {{'a': 1}}"),
        ({"layers": [["cnov", 0, True]]}, "layers.0", f"{{}}: {LAYER}, got ['cnov', 0, True]"),
        ({"levels": [[], [[[1], 1], [1]]]}, "levels.1.1",
         "{}: want 2 values (maps, stride), got [1]"),
        ({"levels": [[], 3]}, "levels.1", "{} must be a list of rows, got 3"),
        ({"widths": [[4], 8]}, "widths.1", "{} must be a list of whole numbers, got 8"),
        ({"widths": [[4], [8.0]]}, "widths.1", "{} must be a list of whole numbers, got [8.0]"),
        ({"sizes": [[1, 2, 3]]}, "sizes.0", "{} must be a list of 2 whole numbers, got [1, 2, 3]"),
    ],
)  # fmt: skip
def test_a_row_that_does_not_fit_is_named_by_its_place(changes, about, text) -> None:
    about = f"model.{about}"
    assert told(**changes) == [(text.format(about), about)]


def test_every_row_that_does_not_fit_is_named() -> None:
    assert told(stages=[[1], MBCONV[0], [2, 2]], widths=[0, [1], 2]) == [
        (f"model.stages.0: {STAGE}, got [1]", "model.stages.0"),
        (f"model.stages.2: {STAGE}, got [2, 2]", "model.stages.2"),
        ("model.widths.0 must be a list of whole numbers, got 0", "model.widths.0"),
        ("model.widths.2 must be a list of whole numbers, got 2", "model.widths.2"),
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"stages": [[1, 3, 0, 16, 1]]}, "stages.0 must be at least 1, got [1, 3, 0, 16, 1]"),
        ({"stages": [[1, 3, 1, 641, 1]]}, "stages.0 must be at most 640, got [1, 3, 1, 641, 1]"),
        ({"layers": [["conv", 1, None]]}, "layers.0 must be below 1, got ['conv', 1, None]"),
        ({"levels": [[[[8, 0], 1]]]}, "levels.0.0 must be at least 1, got [[8, 0], 1]"),
        ({"widths": [[1], [1, -2]]}, "widths.1 must be at least 1, got [1, -2]"),
    ],
)
def test_a_limit_holds_for_every_number_of_a_table(changes, text) -> None:
    assert told(**changes) == [(f"model.{text}", f"model.{text.partition(' ')[0]}")]


@pytest.mark.parametrize("name", [*data()])
def test_a_table_can_be_empty(name) -> None:
    net, problems = read(Net, data(**{name: []}))
    assert problems == []
    assert getattr(net, name) == ()


@pytest.mark.parametrize(
    ("hint", "holds"),
    [
        (tuple[Stage, ...], True), (tuple[tuple[int, ...], ...], True),
        (tuple[tuple[Stage, ...], ...], True), (tuple[int, ...], False), (int, False),
        (Stage, False), (tuple[int, ...] | None, False), (dict[str, Any], False),
    ],
)  # fmt: skip
def test_a_table_is_a_list_of_rows(hint, holds) -> None:
    assert is_table(hint) is holds


VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3)


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(VALUES, lambda inner: st.lists(inner, max_size=5), max_leaves=20),
    st.sampled_from(list(data())),
)
def test_no_table_at_all_ends_in_a_traceback(value, name) -> None:
    for _, about in told(**{name: value}):
        assert about == f"model.{name}" or about.startswith(f"model.{name}.")
