from __future__ import annotations

import os
from typing import Any

import pytest

from cnnctl import runs
from cnnctl.config import compose, paths, schema
from cnnctl.config.read import read_parts
from cnnctl.config.rules_hardware import SHARDED, hardware, unfit

CPU = ["hardware=cpu"]
GPU = ["hardware=gpu"]
FSDP = ["hardware=multi_gpu", "hardware.strategy=fsdp"]
INSTEAD = "hardware=multi_gpu, or hardware.strategy=ddp"


@pytest.fixture(autouse=True)
def four_cores(monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


def parts(overrides: list[str]) -> dict[str, Any]:
    with compose.opened():
        config, problems = compose.compose("train", overrides)
    assert problems == []
    return read_parts(schema.Train, config)[0]


def broken(overrides: list[str]) -> list[tuple[str, str | None]]:
    return [(str(problem), problem.key) for problem in hardware(parts(overrides))]


@pytest.mark.parametrize(
    ("overrides", "text", "about"),
    [
        (
            [*CPU, "hardware.precision=16-mixed"],
            ("hardware.precision=16-mixed needs a GPU, got hardware.accelerator=cpu "
             "(on a CPU use 32-true or bf16-mixed)"),
            "hardware.precision",
        ),
        (
            [*CPU, "hardware.precision=16-true"],
            ("hardware.precision=16-true needs a GPU, got hardware.accelerator=cpu "
             "(on a CPU use 32-true or bf16-mixed)"),
            "hardware.precision",
        ),
        (
            [*CPU, "hardware.devices=[0, 1]"],
            ("hardware.devices=[0, 1] lists devices, but a CPU has no numbers "
             "(give how many: hardware.devices=1)"),
            "hardware.devices",
        ),
        (
            [*CPU, "hardware.devices=5"],
            ("hardware.devices=5 does not fit this machine: it has 4 cores "
             "(hardware.devices=1 to 4)"),
            "hardware.devices",
        ),
        (
            [*CPU, "hardware.devices=0"],
            ("hardware.devices=0 does not fit this machine: it has 4 cores "
             "(hardware.devices=1 to 4)"),
            "hardware.devices",
        ),
        (
            [*CPU, "hardware.sync_batchnorm=true", "hardware.devices=2"],
            ("hardware.sync_batchnorm=true needs GPUs, got hardware.accelerator=cpu "
             "(hardware.sync_batchnorm=false)"),
            "hardware.sync_batchnorm",
        ),
        (
            [*GPU, "hardware.sync_batchnorm=true"],
            ("hardware.sync_batchnorm=true has no effect on one device "
             "(hardware.sync_batchnorm=false)"),
            "hardware.sync_batchnorm",
        ),
        (
            ["hardware.sync_batchnorm=true", "hardware.devices=[3]"],
            ("hardware.sync_batchnorm=true has no effect on one device "
             "(hardware.sync_batchnorm=false)"),
            "hardware.sync_batchnorm",
        ),
        (
            [*CPU, "hardware.matmul=high"],
            ("hardware.matmul=high is for GPUs, got hardware.accelerator=cpu "
             "(hardware.matmul=highest; hardware.precision=bf16-mixed is for CPUs, too)"),
            "hardware.matmul",
        ),
        (
            ["hardware=mps", "hardware.matmul=medium"],
            ("hardware.matmul=medium is for GPUs, got hardware.accelerator=mps "
             "(hardware.matmul=highest; hardware.precision=bf16-mixed is for CPUs, too)"),
            "hardware.matmul",
        ),
        (
            [*CPU, "hardware.strategy=fsdp", "hardware.devices=2"],
            ("hardware.strategy=fsdp shares the weights out over GPUs, got "
             f"hardware.accelerator=cpu ({INSTEAD})"),
            "hardware.strategy",
        ),
        (
            ["hardware.strategy=fsdp"],
            ("hardware.strategy=fsdp shares the weights out over GPUs, got "
             f"hardware.accelerator=auto ({INSTEAD})"),
            "hardware.strategy",
        ),
        (
            [*GPU, "hardware.strategy=fsdp"],
            f"hardware.strategy=fsdp shares the weights out over GPUs, got one device ({INSTEAD})",
            "hardware.strategy",
        ),
        (
            [*FSDP, "hardware.precision=64-true"],
            ("hardware.precision=64-true does not go with hardware.strategy=fsdp "
             "(32-true, or hardware.strategy=ddp)"),
            "hardware.precision",
        ),
        (
            [*FSDP, "trainer.clip=1"],
            ("trainer.clip=1.0 does not go with hardware.strategy=fsdp: a device has the norm of "
             "its share of the gradient alone (trainer.clip=null, or hardware.strategy=ddp)"),
            "trainer.clip",
        ),
        (
            [*FSDP, "on_oom=split"],
            ("on_oom=split does not go with hardware.strategy=fsdp: all devices have to make "
             "a step in the same parts (on_oom=stop, or hardware.strategy=ddp)"),
            "on_oom",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(overrides, text, about) -> None:
    assert broken(overrides) == [(text, about)]


OTHER = {
    "trainer.clip": "1", "trainer.ema": "0.9", "trainer.swa": "75%", "trainer.compile": "true",
    "transfer.name": "finetune_all", "optimizer.layer_decay": "0.8", "on_nan": "rollback",
    "on_oom": "split",
}  # fmt: skip


@pytest.mark.parametrize("key", SHARDED)
def test_all_that_needs_whole_weights_is_refused_with_shared_ones(key) -> None:
    assert [about for _, about in broken([*FSDP, f"{key}={OTHER[key]}"])] == [key]
    assert broken(["hardware=multi_gpu", f"{key}={OTHER[key]}"]) == []


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        CPU,
        GPU,
        FSDP,
        [*CPU, "hardware.precision=bf16-mixed", "hardware.devices=4"],
        [*CPU, "hardware.devices=auto"],
        [*GPU, "hardware.precision=16-mixed", "hardware.devices=[0, 9]"],
        [*GPU, "hardware.devices=2", "hardware.sync_batchnorm=true"],
        [*GPU, "hardware.num_nodes=2", "hardware.sync_batchnorm=true"],
        [*GPU, "hardware.devices=auto", "hardware.sync_batchnorm=true"],
        ["hardware.devices=2", "hardware.sync_batchnorm=true"],
        [*GPU, "hardware.matmul=medium"],
        ["hardware.matmul=high"],
        ["hardware=multi_node", "hardware.strategy=fsdp", "hardware.devices=1"],
        [*FSDP, "trainer.accumulate=4", "hardware.sync_batchnorm=true"],
        *([*FSDP, f"hardware.precision={name}"] for name in
          ("32-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed")),
    ],
)  # fmt: skip
def test_the_edge_of_each_rule_is_allowed(overrides) -> None:
    assert broken(overrides) == []


@pytest.mark.parametrize("missing", ["trainer", "transfer", "optimizer", "on_nan", "on_oom"])
def test_what_cannot_be_read_is_told_elsewhere(missing) -> None:
    there = parts([*FSDP, "trainer.clip=1", "trainer.ema=0.9", "on_nan=rollback", "on_oom=split"])
    del there[missing]
    told = [problem.key for problem in hardware(there)]
    expected = ["trainer.clip", "trainer.ema", "on_nan", "on_oom"]
    assert told == [key for key in expected if missing not in (key, key.partition(".")[0])]
    del there["hardware"]
    assert list(hardware(there)) == []


def test_several_problems_are_told_at_once() -> None:
    words = [
        *CPU, "hardware.devices=[0]", "hardware.precision=16-true", "hardware.matmul=high",
        "hardware.sync_batchnorm=true", "hardware.strategy=fsdp", "trainer.clip=1",
    ]  # fmt: skip
    assert [about for _, about in broken(words)] == [
        "hardware.precision", "hardware.devices", "hardware.sync_batchnorm", "hardware.matmul",
        "hardware.strategy", "trainer.clip",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("accelerator", "world", "told"),
    [
        ("cpu", 2, ["hardware.sync_batchnorm", "hardware.matmul", "hardware.strategy"]),
        ("mps", 1, ["hardware.sync_batchnorm", "hardware.matmul", "hardware.strategy"]),
        ("gpu", 1, ["hardware.sync_batchnorm", "hardware.strategy"]),
        ("gpu", 2, []),
        ("gpu", None, []),
    ],
)
def test_what_auto_settles_on_is_judged_by_the_same_rules(accelerator, world, told) -> None:
    words = ["hardware.sync_batchnorm=true", "hardware.matmul=high", "hardware.strategy=fsdp"]
    chosen = parts(words)["hardware"]
    assert [problem.key for problem in unfit(chosen, accelerator, world)] == told


@pytest.mark.parametrize("name", ["auto", "cpu", "gpu", "mps", "multi_gpu", "multi_node"])
def test_the_hardware_that_is_shipped_breaks_no_rule(name) -> None:
    assert broken([f"hardware={name}"]) == []
    assert runs.read_config(paths.conf_dir() / "hardware" / f"{name}.yaml")["name"] == name
