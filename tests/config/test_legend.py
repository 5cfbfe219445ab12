from __future__ import annotations

import subprocess
import sys

import pytest

from cnnctl.config.legend import MOST_CLASSES, Legend, faults, legend, listed

NAMES = ("road", "car", "tree")
RED, BLUE, BLACK = "#ff0000", "#0000FF", "#000000"


def told(classes=NAMES, values=None, ignored=()) -> list[tuple[str, str]]:
    return [(fault.key, fault.text) for fault in faults(classes, values, ignored)]


@pytest.mark.parametrize(
    ("values", "ignored"),
    [
        (None, ()), (None, (255,)), ((0, 1, 2), (3, 4)), ((255, 7, 65535), (0,)),
        ((RED, BLUE, BLACK), ()), ((RED, BLUE, "#010203"), (BLACK, "#ffffff")),
    ],
)  # fmt: skip
def test_what_is_a_legend(values, ignored) -> None:
    assert told(values=values, ignored=ignored) == []


@pytest.mark.parametrize("classes", [(), ("one",), tuple(map(str, range(256)))])
def test_too_few_classes_and_too_many(classes) -> None:
    text = f"must be 2 to 255 names, got {len(classes)}"
    assert ("classes", text) in told(classes)
    assert MOST_CLASSES == 255
    assert told(tuple(map(str, range(255)))) == []


CLASS = ", which is the value of a class"
KIND = "must be numbers from 0 to 65535 or colours, got"


@pytest.mark.parametrize(
    ("values", "ignored", "fault"),
    [
        ((0, 1), (), ("values", "must be one for each of 3 classes, got 2")),
        ((0, 1, 1), (), ("values", "has one value twice: 1")),
        ((RED, BLUE, "#FF0000"), (), ("values", "has one value twice: #ff0000")),
        ((0, 1, 65536), (), ("values", f"{KIND} 65536")),
        ((0, 1, -1), (), ("values", f"{KIND} -1")),
        ((RED, BLUE, "red"), (), ("values", f"{KIND} 'red'")),
        ((RED, BLUE, "#ff00"), (), ("values", f"{KIND} '#ff00'")),
        ((RED, BLUE, 2), (), ("values", "mixes numbers and colours")),
        (None, (RED,), ("ignore", "mixes numbers and colours")),
        ((RED, BLUE, BLACK), (0,), ("ignore", "mixes numbers and colours")),
        (None, (2,), ("ignore", f"has 2{CLASS}")),
        ((RED, BLUE, BLACK), ("#FF0000",), ("ignore", f"has #FF0000{CLASS}")),
        (None, (9, 8, 9), ("ignore", "has one value twice: 9")),
        (None, (70000,), ("ignore", f"{KIND} 70000")),
    ],
)  # fmt: skip
def test_what_is_none(values, ignored, fault) -> None:
    assert fault in told(values=values, ignored=ignored)


def test_a_name_given_twice() -> None:
    assert told(("a", "b", "a")) == [("classes", "has 'a' twice")]


def test_numbers_stay_and_colours_become_numbers() -> None:
    assert legend(NAMES, None, ()) == Legend(NAMES, (0, 1, 2))
    assert legend(NAMES, (5, 0, 9), (255,), "f") == Legend(NAMES, (5, 0, 9), (255,), file="f")
    found = legend(NAMES, (RED, BLUE, BLACK), ("#010203",))
    assert found == Legend(NAMES, (0xFF0000, 0x0000FF, 0), (0x010203,), coloured=True)


@pytest.mark.parametrize(("given", "found"), [
    (None, ()), (0, (0,)), (RED, (RED,)), ((1, 2), (1, 2)), ([RED, BLUE], (RED, BLUE)),
])  # fmt: skip
def test_one_ignored_value_or_several(given, found) -> None:
    assert listed(given) == found


def test_what_to_type_instead_goes_where_the_legend_is() -> None:
    numbers = Legend(NAMES, (0, 1, 2), (9,))
    assert numbers.with_values([0, 255]) == "data.values=[0, 255]"
    assert numbers.with_ignored(255) == "data.ignore=[9, 255]"
    colours = Legend(NAMES, (1, 2, 3), (), coloured=True)
    assert colours.with_values([0xFF0000, 1]) == "data.values=['#ff0000', '#000001']"
    assert colours.with_ignored(0xFF) == "data.ignore=['#0000ff']"
    filed = Legend(NAMES, (1, 2, 3), (), coloured=True, file="x/classes.txt")
    assert filed.with_ignored(0xFF) == "a line in x/classes.txt: ignore #0000ff"
    told = "give the classes in x/classes.txt the values #00000a, #00000b"
    assert filed.with_values([10, 11]) == told


def test_it_needs_no_torch() -> None:
    program = "import sys, cnnctl.config.legend; print('torch' in sys.modules)"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
