from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.audit import claims, lectures

FACTS = claims.load()
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "claims_expected.yaml").read_text(encoding="utf-8")
)
Change = Callable[[str, dict[str, Any]], None]


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return claims.judged(FACTS)


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Iterator[Change]:
    """Other numbers in a net's file, until the end of the test."""
    true = lectures.numbers
    wrong: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(lectures, "numbers", lambda name: true(name) | wrong.get(name, {}))
    lectures.built.cache_clear()
    yield wrong.__setitem__
    lectures.built.cache_clear()


def differing(facts: claims.Facts) -> set[str]:
    """The claims whose verdict is not the one expected."""
    return {
        claim["id"]
        for claim in claims.judged(facts)["claims"]
        if claim["verdict"] != EXPECTED[claim["id"]]["verdict"]
    }


def printed_otherwise(name: str, **changes: Any) -> dict[str, Any]:
    """The result of one claim, with other facts about it."""
    facts = copy.deepcopy(FACTS)
    facts["claims"] = [claim | changes for claim in facts["claims"] if claim["id"] == name]
    (claim,) = claims.judged(facts)["claims"]
    return claim


@pytest.mark.parametrize("place", range(len(EXPECTED)), ids=list(EXPECTED))
def test_each_claim_comes_to_what_it_must(result, place: int) -> None:
    claim = result["claims"][place]
    found = {key: claim[key] for key in ("computed", "verdict", "cause")}
    variants = [variant["computed"] for variant in claim["variants"]]
    assert found | {"variants": variants} == {
        "cause": None, "variants": [], **EXPECTED[claim["id"]],
    }  # fmt: skip


def test_they_are_all_there(result) -> None:
    assert [claim["id"] for claim in result["claims"]] == list(EXPECTED)
    assert result["summary"] == {
        "holds": 232, "holds_within_rounding": 44, "differs": 30, "recorded": 29,
    }  # fmt: skip
    assert len(result["contradictions"]) == 29


def test_an_explanation_has_a_cause_and_belongs_to_a_print_that_differs(result) -> None:
    explained = {claim["id"] for claim in FACTS["claims"] if "cause" in claim}
    assert explained == {claim["id"] for claim in FACTS["claims"] if "reason" in claim}
    assert explained == {claim["id"] for claim in result["claims"] if claim["verdict"] == "differs"}
    assert Counter(claim["cause"] for claim in result["claims"] if claim["cause"]) == {
        "arithmetic": 12, "scope": 5, "record": 4, "slip": 4, "convention": 3, "truncation": 2,
    }  # fmt: skip


def test_a_result_says_where_it_comes_from(result) -> None:
    (total,) = (claim for claim in result["claims"] if claim["id"] == "vgg16.activation_total")
    assert total["source"] == (
        "000_aab3a18ef208b4ad.txt:885, 002_28822be7ad278ade.txt:426, 002_28822be7ad278ade.txt:463"
    )
    assert total["deck"] == "introduction, LeNet to ResNet, applications"
    assert total["sources"][1] == {
        "file": "002_28822be7ad278ade.txt", "line": "426",
        "deck": "CNN basics, the simple CNN, VGG-16 table",
    }  # fmt: skip
    assert total["paper"].startswith("Simonyan, Zisserman 2015, Very deep")
    assert (total["status"], total["unit"], total["relation"]) == ("computed", "values", "=")
    assert result["claims"][0]["paper"] is None


def test_what_no_arithmetic_gives_is_recorded(result) -> None:
    recorded = {claim["id"] for claim in result["claims"] if claim["status"] == "recorded"}
    assert {"alexnet.top5", "alexnet.top5.lead", "vgg.rank.won", "human.top5"} < recorded
    assert "densenet.vs_resnet152" not in recorded  # read from torchvision


def test_a_narrower_stage_changes_the_verdicts_of_its_rows(change: Change) -> None:
    stages = copy.deepcopy(lectures.numbers("vgg_d")["stages"])
    change("vgg_d", {"stages": [*stages[:4], ["conv3-256"] * 3]})
    rows = {f"vgg16.conv5_{n}.{what}" for n in (1, 2, 3) for what in ("shape", "params")}
    rows |= {f"vgg16.pool5.{what}" for what in ("shape", "memory")}  # 50,176 still rounds to 100K
    totals = {"vgg16.params", "vgg16.params.row_sum", "vgg.params.140m", "vgg.D.params"}
    assert differing(claims.chosen(FACTS, ["vgg16"])) == rows | totals | {"vgg16.fc6.params"}


def test_a_net_that_is_right_again_is_judged_so_again() -> None:
    assert differing(claims.chosen(FACTS, ["vgg16"])) == set()


def test_another_net_changes_what_is_compared_with_it(change: Change) -> None:
    change("googlenet", {"kernel5": 3})
    wrong = claims.chosen(FACTS, ["googlenet", "comparison", "resnet18"])
    assert differing(wrong) == set()  # it differs as before
    (params,) = (c for c in claims.judged(wrong)["claims"] if c["id"] == "googlenet.params")
    assert params["computed"] < 6_998_552
    change("resnet18", {"depths": [2, 2, 2, 1]})
    lectures.built.cache_clear()
    assert differing(claims.chosen(FACTS, ["resnet18"])) == {
        "resnet18.depth", "resnet18.flops", "resnet18.vs_plain.params",
    }  # fmt: skip


def test_an_explanation_is_not_told_of_a_print_that_holds() -> None:
    claim = printed_otherwise("googlenet.params", value=7_000_000)
    assert (claim["verdict"], claim["cause"], claim["reason"]) == (
        "holds_within_rounding", None, None,
    )  # fmt: skip
    assert printed_otherwise("googlenet.params", value=6_998_552)["verdict"] == "holds"


def test_a_print_that_differs_without_an_explanation_gets_the_two_figures() -> None:
    claim = printed_otherwise("vgg16.conv1_1.memory", value=3_300_000, printed="3.3M")
    assert (claim["verdict"], claim["cause"]) == ("differs", None)
    assert claim["reason"] == "computed 3211264 values, printed '3.3M'"


@pytest.mark.parametrize(
    ("relation", "value", "tolerance", "computed", "verdict"),
    [
        ("=", 10, 0, 10, "holds"), ("=", 10, 0, 11, "differs"), ("=", 10, 1, 10, "holds"),
        ("=", 10, 1, 11, "holds_within_rounding"), ("=", 10, 1, 9, "holds_within_rounding"),
        ("=", 10, 1, Fraction(111, 10), "differs"),
        ("=", 2.33, 0.005, Fraction(7, 3), "holds_within_rounding"),
        ("=", 0.1, 0, Fraction(1, 10), "holds"),
        ("=", 15.3, 0.05, Fraction("15.35"), "holds_within_rounding"),
        ("=", [3, 4], 0, [3, 4], "holds"), ("=", [3, 4], 1, [3, 5], "differs"),
        ("=", "vgg19", 0, "vgg19", "holds"), ("=", "vgg19", 1, "vgg16", "differs"),
        (">", 10, 0, 11, "holds"), (">", 10, 0, 10, "differs"),
        (">", 10, 1, 9, "holds_within_rounding"),
        (">=", 10, 0, 10, "holds"), (">=", 10, 0, 9, "differs"), (">=", 10, 0, 99, "holds"),
        ("between", [8, 64], 0, 8, "holds"), ("between", [8, 64], 0, 64, "holds"),
        ("between", [8, 64], 0, 4, "differs"), ("between", [8, 64], 9, 4, "differs"),
    ],
)  # fmt: skip
def test_a_verdict(relation: str, value, tolerance, computed, verdict: str) -> None:
    claim = {"value": value, "tolerance": tolerance, "relation": relation}
    assert claims.verdict(claim, computed) == verdict


@settings(deadline=None, max_examples=50)
@given(st.integers(-99, 99), st.integers(0, 9), st.fractions(-99, 99, max_denominator=9))
def test_a_number_holds_within_its_tolerance_and_no_further(value, tolerance, computed) -> None:
    found = claims.verdict({"value": value, "tolerance": tolerance}, computed)
    assert (found == "holds") == (computed == value)
    assert (found == "differs") == (abs(computed - value) > tolerance)


def test_failed_leaves_those_that_differ_and_the_sums_of_all(result) -> None:
    found = claims.failed(result)
    assert len(found["claims"]) == 30
    assert {claim["verdict"] for claim in found["claims"]} == {"differs"}
    assert found["summary"] == result["summary"]
    touched = [one["id"] for one in found["contradictions"]]
    assert len(touched) == 15
    assert "vgg16-memory" in touched
    assert "vgg-params" not in touched
