from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnctl.config import compose
from cnnctl.config.duration import Duration
from cnnctl.config.rules_learning import learning, swa_begin
from cnnctl.errors import ConfigError

KEYS = {"label_smoothing": 0.0, "ema": None, "swa": None, "swa_lr": None, "max_epochs": 40}


def parts(**changes: Any) -> dict[str, Any]:
    """Sections of a configuration; a length may be given as it is written."""
    trainer = KEYS | {name: changes[name] for name in KEYS if name in changes}
    if trainer["swa"] is not None:
        trainer["swa"] = Duration.parse(trainer["swa"])
    return {
        "trainer": SimpleNamespace(**trainer),
        "model": {"family": changes.get("family", "resnet")},
        "schedule": SimpleNamespace(name=changes.get("schedule", "cosine")),
        "hardware": SimpleNamespace(
            strategy=changes.get("strategy", "auto"), precision=changes.get("precision", "32-true")
        ),
    }


def broken(**changes: Any) -> list[tuple[str, str | None]]:
    return [(str(problem), problem.key) for problem in learning(parts(**changes))]


@pytest.mark.parametrize(
    ("changes", "text", "about"),
    [
        (
            {"label_smoothing": 0.1, "family": "perceptron"},
            (
                "trainer.label_smoothing=0.1 has no effect on perceptron, which has a loss of its "
                "own (set trainer.label_smoothing=0)"
            ),
            "trainer.label_smoothing",
        ),
        (
            {"label_smoothing": 0.1, "family": "lenet_1998"},
            (
                "trainer.label_smoothing=0.1 has no effect on lenet_1998, which has a loss of its "
                "own (set trainer.label_smoothing=0)"
            ),
            "trainer.label_smoothing",
        ),
        (
            {"swa_lr": 0.05},
            (
                "trainer.swa_lr=0.05 has no effect without trainer.swa "
                "(trainer.swa=75%, or trainer.swa_lr=null)"
            ),
            "trainer.swa_lr",
        ),
        (
            {"ema": 0.999, "swa": "75%"},
            (
                "trainer.ema=0.999 and trainer.swa=75% are two means, and one net is measured "
                "(set trainer.ema=null or trainer.swa=null)"
            ),
            "trainer.ema",
        ),
        (
            {"swa": "40epochs"},
            (
                "trainer.swa=40epochs leaves no two epochs to take the mean of "
                "(trainer.max_epochs is 40; at most 39epochs, or set trainer.swa=null)"
            ),
            "trainer.swa",
        ),
        (
            {"swa": 0, "max_epochs": 1},
            (
                "trainer.swa=0steps leaves no two epochs to take the mean of "
                "(trainer.max_epochs is 1; set trainer.swa=null)"
            ),
            "trainer.swa",
        ),
        (
            {"swa": "75%", "swa_lr": 0.05, "schedule": "plateau"},
            (
                "trainer.swa_lr=0.05 does not go together with schedule=plateau "
                "(set trainer.swa_lr=null, or schedule=cosine)"
            ),
            "trainer.swa_lr",
        ),
        (
            {"swa": "75%", "precision": "bf16-true"},
            (
                "trainer.swa=75% needs 32 bits a weight, got hardware.precision=bf16-true "
                "(hardware.precision=bf16-mixed, or trainer.swa=null)"
            ),
            "trainer.swa",
        ),
    ],
)
def test_each_rule(changes, text, about) -> None:
    assert broken(**changes) == [(text, about)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label_smoothing": 0.1},
        {"family": "perceptron"},
        {"ema": 0.999, "precision": "bf16-mixed", "strategy": "ddp"},
        {"swa": "39epochs"},
        {"swa": "97.5%"},
        {"swa": "100000steps"},
        {"swa": 0},
        {"swa": "75%", "swa_lr": 0.05},
        {"swa": "75%", "schedule": "plateau"},
        {"precision": "bf16-true", "strategy": "fsdp"},
    ],
)
def test_the_edge_of_each_rule_is_allowed(changes) -> None:
    assert broken(**changes) == []


def test_all_broken_rules_are_told_at_once() -> None:
    found = broken(label_smoothing=0.1, family="perceptron", ema=0.9, swa="100%", swa_lr=1,
                   schedule="plateau", strategy="fsdp", precision="16-true")  # fmt: skip
    assert [about for _, about in found] == [
        "trainer.ema", "trainer.swa", "trainer.label_smoothing", "trainer.swa_lr", "trainer.ema",
    ]  # fmt: skip


def test_rules_are_checked_for_the_sections_that_can_be_read() -> None:
    bad = parts(label_smoothing=0.1, family="perceptron", swa_lr=1)
    assert list(learning({})) == []
    assert [one.key for one in learning({"trainer": bad["trainer"]})] == ["trainer.swa_lr"]
    del bad["trainer"]
    assert list(learning(bad)) == []


def test_the_keys_are_those_of_the_configuration() -> None:
    with compose.opened():
        config, problems = compose.compose("train", [])
    assert problems == []
    assert {name: config["trainer"][name] for name in KEYS} == KEYS


@pytest.mark.parametrize(
    ("length", "begin"), [("75%", 30), ("3epochs", 30), ("17steps", 17), (0, 0), ("30steps", 30)]
)
def test_a_mean_begins_after_so_many_steps(length, begin) -> None:
    assert swa_begin(parts(swa=length)["trainer"], per_epoch=10, steps=40) == begin
    assert swa_begin(parts()["trainer"], per_epoch=10, steps=40) is None


@pytest.mark.parametrize(
    ("length", "per_epoch", "steps", "hint"),
    [
        ("31steps", 10, 40, "the run has 40 steps; at most 30steps, or set trainer.swa=null"),
        ("75%", 10, 35, None),
        ("75%", 30, 35, None),
        ("75%", 20, 25, None),
        ("75%", 20, 20, "the run has 20 steps; set trainer.swa=null"),
    ],
)
def test_the_steps_of_the_run_decide(length, per_epoch, steps, hint) -> None:
    trainer = parts(swa=length)["trainer"]
    if hint is None:
        assert swa_begin(trainer, per_epoch=per_epoch, steps=steps) == round(0.75 * steps)
        return
    with pytest.raises(ConfigError) as caught:
        swa_begin(trainer, per_epoch=per_epoch, steps=steps)
    (problem,) = caught.value.problems
    text = f"trainer.swa={length} leaves no two epochs to take the mean of"
    assert (problem.message, problem.hint, problem.key) == (text, hint, "trainer.swa")


@given(st.integers(0, 400), st.integers(1, 20), st.integers(1, 200))
def test_two_epochs_or_more_are_averaged_or_it_is_refused(begin, per_epoch, steps) -> None:
    ends = [*range(per_epoch, steps, per_epoch), steps]
    counted = sum(end >= begin for end in ends)
    trainer = parts(swa=f"{begin}steps")["trainer"]
    try:
        assert swa_begin(trainer, per_epoch=per_epoch, steps=steps) == begin
    except ConfigError:
        assert counted < 2
    else:
        assert counted >= 2
