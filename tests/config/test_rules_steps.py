from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cnnctl.config.rules_steps import alone, steps
from cnnctl.config.schema import Hardware

ONE: dict[str, Any] = {"devices": 1, "num_nodes": 1, "precision": "32-true"}
ROLLBACK = (
    "on_nan=rollback does not go with hardware.precision=16-mixed: its loss scaler leaves such "
    "steps out by itself (on_nan=stop, or hardware.precision=bf16-mixed)"
)


def split(devices: int) -> str:
    return (
        f"on_oom=split works on one device, got {devices}: the others would wait for the one that "
        "makes its step again (a smaller data.batch_size with trainer.accumulate)"
    )


def broken(on_nan: str = "stop", on_oom: str = "stop", **hardware: Any):
    parts = {"on_nan": on_nan, "on_oom": on_oom, "hardware": SimpleNamespace(**ONE | hardware)}
    return [(str(problem), problem.key) for problem in steps(parts)]


@pytest.mark.parametrize(
    ("changes", "text", "about"),
    [
        ({"on_nan": "rollback", "precision": "16-mixed"}, ROLLBACK, "on_nan"),
        ({"on_oom": "split", "devices": 2}, split(2), "on_oom"),
        ({"on_oom": "split", "devices": (1, 3, 5)}, split(3), "on_oom"),
        ({"on_oom": "split", "num_nodes": 2}, split(2), "on_oom"),
        ({"on_oom": "split", "devices": 8, "num_nodes": 4}, split(32), "on_oom"),
        ({"on_oom": "split", "devices": "auto", "num_nodes": 2}, split(2), "on_oom"),
    ],
)
def test_each_rule(changes, text, about) -> None:
    assert broken(**changes) == [(text, about)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"on_nan": "rollback"},
        {"on_nan": "rollback", "precision": "16-true"},
        {"on_nan": "rollback", "precision": "bf16-mixed"},
        {"on_nan": "rollback", "devices": 2},
        {"precision": "16-mixed"},
        {"on_oom": "split"},
        {"on_oom": "split", "devices": (7,)},
        {"on_oom": "split", "devices": "auto"},  # asked again once the machine is known
        {"devices": 8, "num_nodes": 4},
    ],
)
def test_the_edge_of_each_rule_is_allowed(changes) -> None:
    assert broken(**changes) == []


def test_all_broken_rules_are_told_at_once() -> None:
    found = broken("rollback", "split", precision="16-mixed", devices=2)
    assert [about for _, about in found] == ["on_nan", "on_oom"]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"on_nan": "rollback", "on_oom": "split"},
        {"hardware": SimpleNamespace(**ONE | {"devices": 2, "precision": "16-mixed"})},
    ],
)
def test_rules_are_checked_for_the_values_that_can_be_read(parts) -> None:
    assert list(steps(parts)) == []


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_devices_that_are_known_later_are_asked_again(devices) -> None:
    told = [str(problem) for problem in alone("split", devices)]
    assert told == ([split(devices)] if devices > 1 else [])
    assert list(alone("stop", devices)) == list(alone(None, devices)) == []


def test_the_keys_of_the_hardware_are_those_of_the_schema() -> None:
    assert set(ONE) <= set(Hardware.__dataclass_fields__)
