"""What claims.yaml says, and what of it is chosen: no net is built here."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from cnnctl.audit import claims, lectures
from cnnctl.config import paths
from cnnctl.errors import UsageError

FACTS = claims.load()
IDS = [claim["id"] for claim in FACTS["claims"]]


def formulas() -> Iterator[str]:
    for claim in FACTS["claims"]:
        for one in (claim, *claim.get("variants", ())):
            yield str(one["compute"])


def keys(value: Any) -> Iterator[str]:
    """The keys of all mappings inside."""
    if isinstance(value, dict):
        yield from value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, (dict, list)):
            yield from keys(part)


def test_the_file_has_facts_and_no_results() -> None:
    assert {"computed", "verdict", "status"} & set(keys(FACTS)) == set()
    assert Counter(claim["method"] for claim in FACTS["claims"]) == {
        "formula": 273, "paper": 29, "torchvision": 4,
    }  # fmt: skip


def test_the_formulas_call_every_function_and_no_other() -> None:
    calls = [node for text in formulas() for node in ast.walk(ast.parse(text, mode="eval"))]
    called = {node.func.id for node in calls if isinstance(node, ast.Call)}
    assert called == set(lectures.FUNCTIONS)


def test_the_formulas_name_nets_of_the_zoo() -> None:
    zoo = set(paths.config_files()["model"])
    named = {name for text in formulas() for name in re.findall(r"net\('(\w+)'", text)}
    listed = {name for group in FACTS["nets"].values() for name in group}
    assert len(named) > 20
    assert (named | listed) - zoo == set()
    assert set(FACTS["nets"]) - {claim["system"] for claim in FACTS["claims"]} == set()


def test_every_source_is_a_line_of_a_deck() -> None:
    sources = [text for claim in FACTS["claims"] for text in claim["sources"]]
    sources += [place["source"] for one in FACTS["contradictions"] for place in one["positions"]]
    assert len(sources) > 400
    for text in sources:
        file, line = text.split(":")
        assert file in FACTS["decks"]
        assert re.fullmatch(r"[1-9]\d*(-[1-9]\d*)?", line)


def test_a_contradiction_is_between_two_lines_and_about_claims_or_systems() -> None:
    systems = {claim["system"] for claim in FACTS["claims"]}
    for one in FACTS["contradictions"]:
        assert len({place["source"] for place in one["positions"]}) > 1
        assert ("claims" in one) != ("systems" in one)
        assert set(one.get("claims", ())) <= set(IDS)
        assert set(one.get("systems", ())) <= systems


def test_a_rounding_is_half_a_unit_of_the_last_digit_printed() -> None:
    rounded = [claim for claim in FACTS["claims"] if claim["rounding"] == "last_digit"]
    assert len(rounded) == 59
    for claim in rounded:
        value, place = Fraction(str(claim["value"])), Fraction(1, 10**6)
        while value % (10 * place) == 0:
            place *= 10
        assert Fraction(str(claim["tolerance"])) == place / 2, claim["id"]
    exact = {claim["tolerance"] for claim in FACTS["claims"] if claim["rounding"] == "exact"}
    assert exact == {0}


@pytest.mark.parametrize(
    ("words", "count", "systems"),
    [
        ([], 306, None), (["vgg16"], 89, {"vgg16", "vgg-D"}), (["vgg_d"], 89, {"vgg16", "vgg-D"}),
        (["vgg-D"], 2, {"vgg-D"}), (["unet"], 7, {"unet"}), (["lenet5_1998"], 3, {"lenet5"}),
        (["fcn8s"], 4, {"fcn"}),
        (["googlenet"], 12, {"googlenet", "inception"}),
        (["vgg16", "unet"], 96, {"vgg16", "vgg-D", "unet"}),
    ],
)  # fmt: skip
def test_claims_are_chosen_by_system_or_net(words: list[str], count: int, systems) -> None:
    found = claims.chosen(FACTS, words)["claims"]
    assert len(found) == count
    assert systems is None or {claim["system"] for claim in found} == systems


def test_contradictions_are_chosen_with_the_claims_they_touch() -> None:
    def named(*words: str) -> list[str]:
        return [one["id"] for one in claims.chosen(FACTS, words)["contradictions"]]

    assert len(named()) == 29
    assert named("lenet5") == ["lenet5-structure", "lenet5-activation", "pool-params"]
    assert named("convolution") == [
        "convolution-definition", "padding-kinds", "bias-counting", "fractional-size",
    ]  # fmt: skip
    assert named("hardware") == []


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("vg16", "did you mean 'vgg16'?"), ("restnet50", "did you mean 'resnet50'?"),
        ("mlp", "cnnctl audit claims shows all of them"), ("VGG16", "did you mean 'vgg16'?"),
    ],
)  # fmt: skip
def test_a_name_that_no_claim_is_about(word: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no claims about '{word}'") as caught:
        claims.chosen(FACTS, ["vgg16", word])
    assert caught.value.hint == hint
