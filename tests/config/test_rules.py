from __future__ import annotations

import os
from typing import Any

import pytest

from cnnctl.config import compose, preflight, rules
from cnnctl.config.schema import Train

SGD = ["optimizer=sgd", "optimizer.nesterov=true"]
FOLDER = ["data=folder", "data.root=x"]
CPU = ["hardware=cpu"]
STEP = ["schedule=step"]
CUTS = ["schedule=multistep"]


@pytest.fixture(autouse=True)
def four_cores(monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


def broken(overrides: list[str]) -> list[tuple[str, str | None]]:
    with compose.opened():
        config, problems = compose.compose("train", overrides)
    train, problems = preflight.check(config, problems)
    assert isinstance(train, Train)
    return [(str(problem), problem.key) for problem in problems]


@pytest.mark.parametrize(
    ("overrides", "text", "about"),
    [
        (
            ["data.mean=[0.1, 0.2]"],
            "data.mean must have one number per channel, got [0.1, 0.2] (data.channels is 1)",
            "data.mean",
        ),
        (
            [*FOLDER, "data.std=[1]"],
            "data.std must have one number per channel, got [1.0] (data.channels is 3)",
            "data.std",
        ),
        (
            ["data.val_fraction=0.8"],
            (
                "data.val_fraction and data.test_fraction leave nothing to train on "
                "(their sum must be below 1)"
            ),
            "data.val_fraction",
        ),
        (
            [*FOLDER, "data.on_error=skip", "data.verify=false"],
            "data.on_error=skip has no effect with data.verify=false (set data.verify=true)",
            "data.on_error",
        ),
        (
            [*SGD, "optimizer.momentum=0"],
            (
                "optimizer.nesterov=true needs momentum, got optimizer.momentum=0 "
                "(set optimizer.momentum=0.9)"
            ),
            "optimizer.nesterov",
        ),
        (
            ["schedule.warmup=41epochs"],
            "schedule.warmup=41epochs is longer than the training (trainer.max_epochs is 40)",
            "schedule.warmup",
        ),
        (
            [*CUTS, "schedule.milestones=[30, 20]"],
            "schedule.milestones must rise, got [30, 20]",
            "schedule.milestones",
        ),
        (
            [*CUTS, "schedule.milestones=[20, 20]"],
            "schedule.milestones must rise, got [20, 20]",
            "schedule.milestones",
        ),
        (
            [*CUTS, "schedule.milestones=[20, 40]"],
            "schedule.milestones: epoch 40 is never reached (trainer.max_epochs is 40)",
            "schedule.milestones",
        ),
        (
            [*STEP, "schedule.every=40"],
            "schedule.every=40: the first cut is never reached (trainer.max_epochs is 40)",
            "schedule.every",
        ),
        (
            [*CPU, "hardware.precision=16-mixed"],
            (
                "hardware.precision=16-mixed needs a GPU, got hardware.accelerator=cpu "
                "(on a CPU use 32-true or bf16-mixed)"
            ),
            "hardware.precision",
        ),
        (
            [*CPU, "hardware.precision=16-true"],
            (
                "hardware.precision=16-true needs a GPU, got hardware.accelerator=cpu "
                "(on a CPU use 32-true or bf16-mixed)"
            ),
            "hardware.precision",
        ),
        (
            [*CPU, "hardware.devices=[0, 1]"],
            (
                "hardware.devices=[0, 1] lists devices, but a CPU has no numbers "
                "(give how many: hardware.devices=1)"
            ),
            "hardware.devices",
        ),
        (
            [*CPU, "hardware.devices=5"],
            (
                "hardware.devices=5 does not fit this machine: it has 4 cores "
                "(hardware.devices=1 to 4)"
            ),
            "hardware.devices",
        ),
        (
            [*CPU, "hardware.devices=0"],
            (
                "hardware.devices=0 does not fit this machine: it has 4 cores "
                "(hardware.devices=1 to 4)"
            ),
            "hardware.devices",
        ),
    ],
)
def test_each_rule(overrides, text, about) -> None:
    assert broken(overrides) == [(text, about)]


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.val_fraction=0.79"],
        [*FOLDER, "data.on_error=skip"],
        [*SGD],
        ["optimizer=sgd", "optimizer.momentum=0"],
        ["schedule.warmup=40epochs"],
        ["schedule.warmup=9999steps"],
        [*CUTS, "schedule.milestones=[20, 39]"],
        [*CUTS, "schedule.milestones=[]"],
        [*STEP, "schedule.every=39"],
        [*CPU, "hardware.precision=bf16-mixed", "hardware.devices=4"],
        [*CPU, "hardware.devices=auto"],
        ["hardware=gpu", "hardware.precision=16-mixed", "hardware.devices=[0, 9]"],
    ],
)
def test_the_edge_of_each_rule_is_allowed(overrides) -> None:
    assert broken(overrides) == []


def test_all_broken_rules_are_told_in_the_order_of_the_sections() -> None:
    overrides = [*CPU, *SGD, "optimizer.momentum=0", "data.std=[1, 1]", "hardware.devices=[0]"]
    told: list[Any] = [about for _, about in broken(overrides)]
    assert told == ["data.std", "optimizer.nesterov", "hardware.devices"]


def test_the_default_breaks_no_rule() -> None:
    with compose.opened():
        config, _ = compose.compose("train", [])
    train, _ = preflight.check(config, [])
    assert train is not None
    assert rules.broken(vars(train)) == []


def test_rules_are_checked_for_the_sections_that_can_be_read() -> None:
    words = [*CPU, "hardware.precision=16-mixed", "data.batch_size=0", "data.std=[1, 1]"]
    with compose.opened():
        config, _ = compose.compose("train", words)
    train, problems = preflight.check(config, [])
    assert train is None
    assert [problem.key for problem in problems] == ["data.batch_size", "hardware.precision"]


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        ([], True),
        (["optimizer=sgd"], True),
        (["optimizer=sgd", "optimizer.momentum=0"], True),
        (["optimizer=sgd", "optimizer.momentum=0", "optimizer.weight_decay=0"], False),
        (["optimizer=rmsprop"], True),
    ],
)
def test_the_perceptron_takes_plain_gradient_descent_only(overrides, refused) -> None:
    text = (
        "the perceptron learns by its own rule, w += lr·(d − y)·x: plain sgd "
        "(recipe=perceptron_digits, or optimizer=sgd optimizer.momentum=0 optimizer.weight_decay=0)"
    )
    expected = [(text, "optimizer")] if refused else []
    assert broken(["model=perceptron", *overrides]) == expected
    assert broken(["model=mlp", *overrides]) == []
