from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len
from views import COMPARISON, EVALUATED, OTHER, PAIRED, RUN, TOGETHER, lines

WINS = {**COMPARISON, "p": 0.0004, "better": 1, "images_needed": None}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("view", "data"), [("evaluated", EVALUATED), ("paired", PAIRED), ("ensemble", TOGETHER)]
)
def test_only_paths_are_wider_than_the_terminal(
    view: str, data: dict[str, Any], width: int
) -> None:
    shown = lines(view, data, width)
    assert {line for line in shown if cell_len(line) > width} <= {
        line for line in shown if RUN in line or OTHER in line
    }


def row(name: str, data: dict[str, Any]) -> str:
    (found,) = [line for line in lines("evaluated", data) if line.startswith(f"{name}  ")]
    return found


def test_a_figure_stands_beside_its_interval() -> None:
    assert row("top-1", EVALUATED).split() == ["top-1", "50.00", "%", "47.47", "–", "52.53", "%"]
    assert row("loss", EVALUATED).split() == ["loss", "1.25", "1.2", "–", "1.31"]
    assert not [line for line in lines("evaluated", EVALUATED) if line.startswith("top-5")]
    unsure = {**EVALUATED, "intervals": {**EVALUATED["intervals"], "loss": None}}
    assert row("loss", unsure).split() == ["loss", "1.25", "–"]
    unknown = {**EVALUATED, "metrics": {**EVALUATED["metrics"], "loss": None}}
    assert not [line for line in lines("evaluated", unknown) if line.startswith("loss")]


def test_the_temperature_or_why_there_is_none() -> None:
    assert "1.44, fitted on 179 of val  1.192             1.05 %" in lines("evaluated", EVALUATED)
    told = {**EVALUATED["calibration"], "after": None, "reason": "there is no val"}
    shown = lines("evaluated", {**EVALUATED, "calibration": told})
    assert "no temperature: there is no val" in shown
    assert not [line for line in shown if "fitted" in line]


def classes(number: int) -> dict[str, Any]:
    ends = [0.1, 0.9]
    rows = [
        {"class": f"c{i}", "n": 9, "recall": 1 - i / number, "precision": 0.5, "f1": 0.5,
         "recall_interval": ends}
        for i in range(number)
    ]  # fmt: skip
    rows[0] |= {"n": 0, "recall": None, "recall_interval": None}
    return {**EVALUATED, "per_class": rows}


@pytest.mark.parametrize(("number", "shown"), [(20, 20), (21, 10)])
def test_of_many_classes_the_worst_are_shown(number: int, shown: int) -> None:
    found = lines("evaluated", classes(number))
    rows = [line.split()[0] for line in found if line.startswith("c") and line[1].isdigit()]
    assert len(rows) == shown
    told = "the 10 of 21 classes with the lowest recall" in found
    assert told is (number == 21)
    if told:
        assert rows == [f"c{i}" for i in range(20, 10, -1)]


@pytest.mark.parametrize(("numbers", "shown"), [([3, 2, 1, 1], 2), ([1, 1, 1, 1], 3), ([], 0)])
def test_single_confusions_are_shown_only_if_there_are_no_others(numbers, shown: int) -> None:
    confused = [{"true": "x", "predicted": "y", "n": number} for number in numbers]
    found = lines("evaluated", {**EVALUATED, "confused": confused})
    assert len([line for line in found if line.startswith("x ")]) == shown
    assert any(line.startswith("most confused") for line in found) is (shown > 0)


def test_a_file_is_named_once() -> None:
    shown = lines("evaluated", {**EVALUATED, "run": "net.onnx", "checkpoint": "net.onnx"})
    assert "file    net.onnx" in shown
    assert not [line for line in shown if line.startswith(("run", "checkpoint"))]


def test_no_winner_is_named_within_noise() -> None:
    shown = lines("paired", PAIRED)
    assert "within noise: neither is shown to be better" in shown
    assert "a difference of this size would show on about 5,400 images" in shown
    assert "McNemar's test     p = 0.188" in shown
    assert not [line for line in shown if line.endswith("is better")]
    same = {**PAIRED, "comparison": {**COMPARISON, "images_needed": None}}
    assert not [line for line in lines("paired", same) if "would show" in line]


@pytest.mark.parametrize(("better", "word"), [(0, "first"), (1, "second")])
def test_a_winner_is_named(better: int, word: str) -> None:
    shown = lines("paired", {**PAIRED, "comparison": {**WINS, "better": better}})
    assert f"the {word} is better" in shown
    assert "McNemar's test     p = 0.0004" in shown
    assert not [line for line in shown if "noise" in line]


def test_the_difference_has_its_interval_and_its_counts() -> None:
    shown = lines("paired", PAIRED)
    assert "second − first     top-1 +0.60 % (−0.18 to +1.38 %)" in shown
    assert "                   loss −0.012 (−0.0311 to +0.0072)" in shown
    assert "only second right  23" in shown
    without = {**PAIRED, "comparison": {**COMPARISON, "loss": None}}
    assert not [line for line in lines("paired", without) if " loss " in line[:24]]


def test_an_ensemble_is_shown_beside_its_members() -> None:
    shown = lines("ensemble", TOGETHER)
    assert [line.split("  ")[0] for line in shown[2:5]] == ["net 1", "net 2", "together"]
    assert "against the mean  top-1 +0.60 % (−0.10 to +1.25 %)" in shown
    assert "                  loss −0.0213 (−0.0305 to −0.011)" in shown
    assert "against net 1     top-1 +0.60 % (−0.18 to +1.38 %) · p = 0.188" in shown
    assert "within noise: not shown to be better than the best net alone" in shown


@pytest.mark.parametrize(("better", "word"), [(0, "worse"), (1, "better")])
def test_an_ensemble_is_better_or_worse_than_its_best(better: int, word: str) -> None:
    told = {**TOGETHER["ensemble"], "gain_over_best": {**WINS, "better": better}}
    shown = lines("ensemble", {**TOGETHER, "ensemble": told | {"loss_gain_over_mean": None}})
    assert f"together they are {word} than the best net alone" in shown
    assert not [line for line in shown if line.startswith("                  loss")]


def test_what_changes_do_stands_below_the_figures() -> None:
    points = [
        {"strength": strength, "top1": 0.5, "interval": [0.4, 0.6], "n": 9} for strength in (0, 2)
    ]
    swept = {"n": 9, "kinds": {"shift": {"unit": "pixels", "points": points}}}
    shown = lines("evaluated", {**EVALUATED, "robustness": swept})
    assert any(line.startswith("shift, pixels") for line in shown)
