from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
import yaml
from audited import subject, told
from zoo import FILES

from cnnctl.audit import paper
from cnnctl.nets.segmenter import Segmenter

PUBLISHED: dict[str, list[dict[str, Any]]] = yaml.safe_load(paper.FILE.read_text(encoding="utf-8"))
COSTS = json.loads((files("cnnctl.nets") / "costs.json").read_text(encoding="utf-8"))
ENTRIES = [(net, said) for net, rows in PUBLISHED.items() for said in rows]
TOTALS = [(net, said) for net, said in ENTRIES if "layer" not in said]
# Nets of which the papers print layers, too.
LAYERED = ("lenet5_1998", "alexnet", "googlenet", "unet", "fcn32s")
SCALES = {
    "": 1, "K": 10**3, "M": 10**6, "B": 10**9, " million": 10**6, " billion": 10**9,
    "×10^6": 10**6, "×10^9": 10**9,
}  # fmt: skip


@cache
def rows(name: str) -> list[dict[str, Any]]:
    """The comparison of a net; from the shipped table where the paper prints totals alone."""
    if name in LAYERED:
        made = subject(name)
        if isinstance(made.net, Segmenter):
            made.net.framed = False
        return paper.compare(told(made))
    return paper.compare({"name": name, "totals": COSTS[name], "layers": []})


def row(name: str, what: str) -> dict[str, Any]:
    return next(one for one in rows(name) if one["what"] == what)


def unit(said: dict[str, Any]) -> float:
    """The value of the last printed digit."""
    number, word = re.fullmatch(r"([\d.,]+)(.*)", said["printed"]).groups()
    _, _, digits = number.partition(".")
    return SCALES[word] / 10 ** len(digits)


def test_every_published_net_is_in_the_zoo() -> None:
    assert set(PUBLISHED) <= set(FILES)
    assert set(paper.ALIASES.values()) <= set(PUBLISHED)
    assert set(paper.ALIASES) <= set(FILES)


def test_the_nets_whose_layers_are_printed_are_those_that_are_walked_here() -> None:
    assert {net for net, said in ENTRIES if "layer" in said} == set(LAYERED)


@pytest.mark.parametrize("name", LAYERED)
def test_every_layer_that_is_named_exists(name) -> None:
    assert [one["what"] for one in rows(name) if one["computed"] is None] == []


def test_every_figure_is_written_in_the_same_way() -> None:
    for net, said in ENTRIES:
        assert set(said) - {"layer"} == {"figure", "printed", "value", "source"}, net
        assert said["figure"] in paper.WORDS, net
        assert re.search(
            r" (19|20)\d\d, (table \d|figure \d|section [\dI]|abstract)", said["source"]
        )
    keys = [(net, said.get("layer"), said["figure"]) for net, said in ENTRIES]
    assert len(set(keys)) == len(keys)


def test_the_value_of_a_figure_is_what_is_printed() -> None:
    for net, said in ENTRIES:
        number, word = re.fullmatch(r"([\d.,]+)(.*)", said["printed"]).groups()
        assert said["value"] == round(float(number.replace(",", "")) * SCALES[word]), net
        assert isinstance(said["value"], int)


def test_a_row_holds_both_figures_and_where_the_printed_one_stands() -> None:
    assert rows("resnet18") == [{
        "net": "resnet18", "layer": None, "figure": "macs", "what": "multiply-adds",
        "printed": "1.8×10^9", "value": 1_800_000_000, "computed": 1_814_073_344,
        "deviation": 1_814_073_344 / 1_800_000_000 - 1,
        "source": "He, Zhang, Ren, Sun 2016, table 1",
    }]  # fmt: skip
    assert row("googlenet", "conv1 parameters")["layer"] == "conv1"


@pytest.mark.parametrize(
    ("name", "what", "printed", "computed"),
    [
        ("googlenet", "conv1 parameters", "2.7K", 9_472),
        ("googlenet", "conv1 multiply-adds", "34M", 118_013_952),
        ("googlenet", "conv2 parameters", "112K", 110_784),
        ("googlenet", "inception4c parameters", "463K", 510_104),
        ("googlenet", "inception4e multiply-adds", "170M", 169_996_288),
        ("googlenet", "inception5a multiply-adds", "54M", 51_079_168),
        ("googlenet", "fc parameters", "1000K", 1_025_000),
        ("alexnet", "input activations", "150,528", 3 * 227 * 227),
        ("alexnet", "conv1 activations", "253,440", 290_400),
        ("alexnet", "parameters", "60 million", 60_965_224),
        ("inception_v3", "multiply-adds", "5 billion", 5_713_216_096),
        ("densenet_bc100_12", "parameters", "0.8M", 769_162),
        ("mobilenet_v2", "parameters", "3.4M", 3_504_872),
    ],
)
def test_what_differs_from_its_paper(name, what, printed, computed) -> None:
    found = row(name, what)
    assert (found["printed"], found["computed"]) == (printed, computed)
    assert found["deviation"] == computed / found["value"] - 1 != 0


def test_lenet5_as_it_was_printed_in_1998_is_exact() -> None:
    assert {one["what"]: one["computed"] for one in rows("lenet5_1998")} == {
        "c1 parameters": 156, "s2 parameters": 12, "c3 parameters": 1516, "s4 parameters": 32,
        "c5 parameters": 48_120, "f6 parameters": 10_164, "parameters": 60_000,
    }  # fmt: skip
    assert {one["deviation"] for one in rows("lenet5_1998")} == {0}


def test_alexnet_has_the_neurons_of_its_paper_in_all_layers_but_the_first() -> None:
    neurons = {one["layer"]: one["deviation"] for one in rows("alexnet") if one["layer"]}
    assert [name for name, deviation in neurons.items() if deviation] == ["input", "conv1"]
    assert len(neurons) == 9


def test_nets_for_masks_have_the_sides_fields_and_depths_of_their_papers() -> None:
    assert {one["what"]: (one["computed"], one["deviation"]) for one in rows("unet")} == {
        "input height": (572, 0), "down5_2 height": (28, 0), "final height": (388, 0),
        "weight layers": (23, 0),
    }  # fmt: skip
    found = {one["what"]: one["computed"] for one in rows("fcn32s")}
    assert found == {
        "parameters": 134_346_581, "weight layers": 16, "score_fr receptive field": 404,
        "score_fr stride": 32,
    }  # fmt: skip


def test_xception_is_exact() -> None:
    assert row("xception", "parameters")["computed"] == 22_855_952
    assert row("xception", "parameters")["deviation"] == 0


ROUNDED_OTHERWISE = {"alexnet", "efficientnet_b2", "mobilenet_v2"}


@pytest.mark.parametrize("name", [net for net, said in TOTALS if said["figure"] == "params"])
def test_parameters_are_those_of_the_paper_once_they_are_rounded_as_it_does(name) -> None:
    (said,) = (one for one in PUBLISHED[name] if one["figure"] == "params" and "layer" not in one)
    found = row(name, "parameters")
    assert abs(found["deviation"]) < 0.04
    rounds = abs(found["computed"] - found["value"]) <= unit(said) / 2
    assert rounds == (name not in ROUNDED_OTHERWISE)


@pytest.mark.parametrize("name", [net for net, said in TOTALS if said["figure"] == "macs"])
def test_multiply_adds_are_within_six_percent_of_the_paper_but_for_inception_v3(name) -> None:
    found = row(name, "multiply-adds")
    assert (abs(found["deviation"]) < 0.06) == (name != "inception_v3")


def test_the_inception_modules_of_googlenet_are_within_eleven_percent() -> None:
    deviations = {one["what"]: one["deviation"] for one in rows("googlenet") if one["layer"]}
    far = {what for what, deviation in deviations.items() if abs(deviation) > 0.11}
    assert far == {"conv1 parameters", "conv1 multiply-adds"}
    assert len(deviations) == 24


def test_configurations_of_vgg_have_the_figures_of_their_letters() -> None:
    for name, letter in paper.ALIASES.items():
        costs = {"totals": COSTS[letter], "layers": []}
        found = paper.compare({"name": name} | costs)
        assert found == [one | {"net": name} for one in rows(letter)]
        assert [one["printed"] for one in found] == [PUBLISHED[letter][0]["printed"]]


def test_of_a_net_without_published_figures_nothing_is_told() -> None:
    assert paper.compare(told(subject("perceptron"))) == []


def test_a_layer_that_the_net_does_not_have_is_null() -> None:
    net = told(subject("googlenet"))
    net["layers"] = [one for one in net["layers"] if not one["name"].startswith("inception4")]
    gone = [one for one in paper.compare(net) if one["computed"] is None]
    assert len(gone) == 10
    assert {one["deviation"] for one in gone} == {None}
    assert all(one["layer"].startswith("inception4") for one in gone)


def test_a_block_is_the_sum_of_its_layers_and_not_of_those_that_begin_alike() -> None:
    def one(name: str, number: int) -> dict[str, Any]:
        return {
            "name": name, "params": number, "macs": 10 * number, "values": 100 * number,
            "output": [8, 20 * number, 5], "receptive_field": 30 * number, "jump": 40 * number,
        }  # fmt: skip

    layers = [one("conv1", 1), one("conv10", 2), one("conv2.a", 3), one("conv2.b", 4)]
    net = {"totals": {"params": 7}, "layers": layers}
    found = paper._computed
    figures = ("params", "macs", "values", "side", "receptive_field", "jump")
    assert [found(net, "conv1", figure) for figure in figures] == [1, 10, 100, 20, 30, 40]
    assert [found(net, "conv2", figure) for figure in figures] == [7, 70, 400, 80, 120, 160]
    assert found(net, "conv3", "params") is None
    assert found(net, None, "params") == 7
