from __future__ import annotations

import dataclasses
import re
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.config import audit, compose, paths
from cnnctl.config.audit import Audit, broken, choices, shape, size
from cnnctl.config.read import read

FORMATS = ("table", "json", "csv", "md", "html", "svg", "dot")
DETAIL = "must be one of blocks, layers, all"
WANTS_SIZE = "wants a size such as 24GB or 8GiB"
WANTS_SHAPE = "input wants channels x height x width such as 3x224x224"


def composed(*overrides: str) -> dict[str, Any]:
    with compose.opened():
        config, problems = compose.compose("audit", overrides)
    assert problems == []
    return config | {"data": config.get("data")}


@pytest.fixture(scope="module")
def usual() -> Audit:
    """What the file says, read."""
    typed, problems = read(Audit, composed())
    assert problems == []
    assert typed is not None
    return typed


def told(typed: Audit, **changes: Any) -> list[tuple[str, str | None]]:
    return [(str(one), one.key) for one in broken(dataclasses.replace(typed, **changes))]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("24GB", 24 * 10**9),
        ("24 GB", 24 * 10**9),
        ("8GiB", 8 * 2**30),
        ("0.5TB", 5 * 10**11),
        ("1TiB", 2**40),
        ("1.5MiB", 3 * 2**19),
        ("3MB", 3_000_000),
        ("3KB", 3_000),
        ("3KiB", 3_072),
        ("12B", 12),
        ("0B", 0),
    ],
)
def test_sizes_are_bytes_in_powers_of_ten_or_two(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "24", "GB", "24gb", "24Gb", "24G", "24 G B", "-1GB", "1,5GB", ".5GB", "24GBs", "1e9B"],
)
def test_what_has_no_unit_or_no_number_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        size(text)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(audit.UNITS)))
def test_a_whole_number_of_units_is_exactly_so_many_bytes(number: int, unit: str) -> None:
    assert size(f"{number}{unit}") == number * audit.UNITS[unit]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("3x224x224", (3, 224, 224)), ("1×28×32", (1, 28, 32)), ("3x01x1", (3, 1, 1))],
)
def test_a_shape_is_channels_height_width(text: str, sizes: tuple[int, int, int]) -> None:
    assert shape(text) == sizes


@pytest.mark.parametrize(
    "text",
    ["", "224", "224x224", "3x224x224x1", "3X224X224", "3x224", "0x8x8", "3x0x5", "3x00x5",
     "3x-1x5", "3 x 5 x 5", "3x5.5x5"],
)  # fmt: skip
def test_anything_else_is_no_shape(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        shape(text)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(1, 10**5)] * 3), st.sampled_from("x×"))
def test_a_shape_is_read_back(sizes: tuple[int, int, int], times: str) -> None:
    assert shape(times.join(map(str, sizes))) == sizes


def test_the_file_passes_the_schema(usual: Audit) -> None:
    assert told(usual) == []
    assert (usual.model["name"], usual.optimizer.name, usual.data) == ("lenet5", "adam", None)
    assert (usual.input, usual.classes, usual.budget, usual.reserve) == (None, None, None, None)
    assert (usual.batch_size, usual.accumulate, usual.precision) == (32, 1, "32-true")
    assert (usual.accelerator, usual.channels_last) == ("cpu", False)
    assert (usual.memory, usual.detail, usual.format) == ("rows", "layers", "table")


def test_every_key_of_the_file_is_in_the_schema_and_every_field_in_the_file() -> None:
    assert set(composed()) == {field.name for field in dataclasses.fields(Audit)}


def test_the_sections_that_are_chosen_are_groups_of_files() -> None:
    files = paths.config_files()
    for group in audit.GROUPS:
        typed, problems = read(Audit, composed(f"{group}={next(iter(sorted(files[group])))}"))
        assert problems == []
        assert typed is not None
        assert getattr(typed, group) is not None
    assert [name for name in choices() if name in files] == list(audit.GROUPS)


def test_choices_are_the_words_of_a_key() -> None:
    found = choices()
    assert list(found) == [field.name for field in dataclasses.fields(Audit)]
    assert found["memory"] == ("rows", "slides", "outputs", "saved", "peak")
    assert found["detail"] == ("blocks", "layers", "all")
    assert found["format"] == FORMATS
    assert found["accelerator"] == ("cpu", "gpu")
    assert found["channels_last"] == ("true", "false")
    assert found["precision"] == typing.get_args(audit.Precision)
    free = {"input", "sizes", "classes", "batch_size", "accumulate", "budget", "reserve", "framed"}
    free |= set(audit.GROUPS)
    assert {name for name, words in found.items() if not words} == free


@pytest.mark.parametrize("name", [name for name, words in choices().items() if words])
def test_every_choice_is_composed_and_read(name: str) -> None:
    for word in choices()[name]:
        typed, problems = read(Audit, composed(f"{name}={word}"))
        assert problems == []
        assert getattr(typed, name) == {"true": True, "false": False}.get(word, word)


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"budget": ("24GB", "8GiB")}, []),
        ({"budget": ("24",)}, [(f"budget {WANTS_SIZE}, got '24'", "budget")]),
        (
            {"budget": ("3XB", "24GB", "")},
            [
                (f"budget {WANTS_SIZE}, got '3XB'", "budget"),
                (f"budget {WANTS_SIZE}, got ''", "budget"),
            ],
        ),
        ({"budget": ()}, [("budget names no memory (budget=3GB,24GB)", "budget")]),
        ({"reserve": "1GB", "budget": ("3GB",)}, []),
        (
            {"reserve": "1", "budget": ("3GB",)},
            [(f"reserve {WANTS_SIZE}, got '1'", "reserve")],
        ),
        (
            {"reserve": "1GB"},
            [("reserve=1GB has no effect without a budget (budget=24GB)", "reserve")],
        ),
        ({"input": "3x32x32"}, []),
        ({"input": "32"}, [(f"{WANTS_SHAPE}, got '32'", "input")]),
        ({"input": "3x0x5"}, [(f"{WANTS_SHAPE}, got '3x0x5'", "input")]),
        ({"input": ""}, [(f"{WANTS_SHAPE}, got ''", "input")]),
        ({"classes": 5}, []),
    ],
)
def test_each_problem_is_named(
    usual: Audit, changes: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    assert told(usual, **changes) == problems


def test_all_problems_come_at_once(usual: Audit) -> None:
    keys = [key for _, key in told(usual, budget=("1",), reserve="2", input="3")]
    assert keys == ["budget", "reserve", "input"]


def test_the_data_says_image_and_classes_so_neither_is_given_beside_it(usual: Audit) -> None:
    digits, problems = read(Audit, composed("data=digits"))
    assert problems == []
    assert digits is not None
    assert told(digits) == []
    hint = "has no effect beside data=digits (leave out one of the two)"
    assert told(digits, input="1x32x32", classes=10) == [
        (f"input {hint}", "input"), (f"classes {hint}", "classes"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"budget": "24GB"}, "budget must be a list of texts or null, got '24GB'"),
        ({"data": 5}, "data must be a section or null, got 5"),
        ({"optimizer": None}, "optimizer must be a section, got null"),
        ({"detail": "layer"}, f"detail {DETAIL}, got 'layer' (did you mean 'layers'?)"),
    ],
)  # fmt: skip
def test_values_are_limited(changes: dict[str, Any], text: str) -> None:
    typed, problems = read(Audit, composed() | changes)
    assert (typed, [str(one) for one in problems]) == (None, [text])
