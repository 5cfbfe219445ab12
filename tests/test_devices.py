from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from learners import CPU

from cnnctl import runs
from cnnctl.config import paths, schema
from cnnctl.config.read import read
from cnnctl.devices import Device, settle, switch
from cnnctl.errors import ConfigError


@pytest.fixture(autouse=True)
def switches(monkeypatch):
    """What torch keeps for the process is put back after each test."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.get_float32_matmul_precision(), torch.get_deterministic_debug_mode()
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    yield
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    torch.set_float32_matmul_precision(before[0])
    torch.set_deterministic_debug_mode(before[1])


@pytest.fixture
def machine(monkeypatch):
    def has(gpus: int = 0, *, mps: bool = False, bf16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


def hardware(name: str, **changes: Any) -> schema.Hardware:
    numbers = runs.read_config(paths.conf_dir() / "hardware" / f"{name}.yaml")
    found, problems = read(schema.Hardware, numbers | changes, "hardware")
    assert problems == []
    assert found is not None
    return found


def refusals(name: str, **changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settle(hardware(name, **changes))
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("gpus", "mps", "accelerator"),
    [(0, False, "cpu"), (0, True, "mps"), (2, False, "gpu"), (2, True, "gpu")],
)
def test_auto_takes_the_fastest_there_is(machine, gpus, mps, accelerator) -> None:
    machine(gpus, mps=mps)
    device = settle(hardware("auto"))
    assert (device.accelerator, device.devices, device.world) == (accelerator, 1, 1)


@pytest.mark.parametrize(("threads", "name"), [(1, "1 thread"), (4, "4 threads")])
def test_a_cpu_is_named_by_its_threads(machine, monkeypatch, threads, name) -> None:
    machine(0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert settle(hardware("cpu")).name == name


def test_the_device_is_named(machine) -> None:
    machine(1)
    assert settle(hardware("gpu")).name == "GPU 0"
    machine(0)
    assert settle(hardware("cpu")) == Device(
        accelerator="cpu", devices=1, num_nodes=1, precision="32-true", strategy="auto",
        sync_batchnorm=False, deterministic=True, matmul="highest",
        name=settle(hardware("cpu")).name,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "local", "world"),
    [
        ({}, 4, 4),
        ({"devices": 3}, 3, 3),
        ({"devices": [0, 2]}, 2, 2),
        ({"num_nodes": 3}, 4, 12),
        ({"devices": [3], "num_nodes": 2}, 1, 2),
    ],
)
def test_devices_may_be_all_a_number_or_a_list(machine, changes, local, world) -> None:
    machine(4)
    device = settle(hardware("multi_gpu", **changes))
    assert (device.local, device.world, device.strategy) == (local, world, "ddp")


@pytest.mark.parametrize("accelerator", ["gpu", "mps"])
@pytest.mark.parametrize("devices", [1, "auto", [0]])
def test_an_accelerator_that_is_not_there_is_refused(machine, accelerator, devices) -> None:
    machine(0)
    assert refusals(accelerator, devices=devices) == [
        f"hardware.accelerator={accelerator}, but torch sees no such device here (use hardware=cpu)"
    ]


@pytest.mark.parametrize("devices", [0, 3, [2], [0, 5], []])
def test_more_devices_than_there_are_are_refused(machine, devices) -> None:
    machine(2)
    text = f"hardware.devices={devices} does not fit this machine: it has 2 gpu"
    assert refusals("gpu", devices=devices) == [f"{text} (hardware.devices=1 to 2)"]


@pytest.mark.parametrize(
    ("name", "precision", "instead"),
    [
        ("cpu", "16-mixed", "32-true or bf16-mixed"),
        ("cpu", "16-true", "32-true or bf16-mixed"),
        ("mps", "64-true", "32-true"),
        ("gpu", "bf16-mixed", "16-mixed"),
        ("gpu", "bf16-true", "16-true"),
    ],
)
def test_a_precision_that_the_device_lacks_is_refused(machine, name, precision, instead) -> None:
    machine(1, mps=True, bf16=False)
    text = f"hardware.precision={precision} does not work on this {name} (use {instead})"
    assert refusals(name, precision=precision) == [text]


@pytest.mark.parametrize(
    ("name", "precision"),
    [("cpu", "bf16-mixed"), ("cpu", "64-true"), ("gpu", "bf16-mixed"), ("gpu", "16-mixed")],
)
def test_a_precision_that_the_device_has_is_kept(machine, name, precision) -> None:
    machine(1)
    assert settle(hardware(name, precision=precision)).precision == precision


def test_auto_is_refused_what_the_settled_device_lacks(machine) -> None:
    machine(0)
    assert refusals("auto", precision="16-mixed") == [
        "hardware.precision=16-mixed does not work on this cpu (use 32-true or bf16-mixed)"
    ]


def test_all_that_does_not_fit_is_told_at_once(machine) -> None:
    machine(1, bf16=False)
    assert [line.split(" ")[0] for line in refusals("gpu", devices=2)] == [
        "hardware.devices=2", "hardware.precision=bf16-mixed",
    ]  # fmt: skip


def test_the_switches_of_torch_are_those_of_the_configuration(machine) -> None:
    machine(2)
    changes = {"sync_batchnorm": True, "deterministic": False, "matmul": "high"}
    device = settle(hardware("multi_gpu", **changes))
    assert {name: getattr(device, name) for name in changes} == changes


@pytest.mark.parametrize(
    ("gpus", "name", "changes", "told"),
    [
        (0, "auto", {"matmul": "high"}, "hardware.matmul=high is for GPUs"),
        (1, "multi_gpu", {"sync_batchnorm": True}, "hardware.sync_batchnorm=true has no effect"),
        (1, "multi_gpu", {"strategy": "fsdp"}, "hardware.strategy=fsdp shares the weights out"),
        (0, "auto", {"sync_batchnorm": True, "devices": 2}, "hardware.sync_batchnorm=true needs"),
    ],
)
def test_what_does_not_go_with_the_machine_is_refused(machine, gpus, name, changes, told) -> None:
    machine(gpus)
    (line,) = refusals(name, **changes)
    assert line.startswith(told)
    machine(4)
    assert settle(hardware(name, **changes | {"devices": 2})).world == 2


@pytest.mark.parametrize("matmul", ["highest", "high", "medium"])
def test_the_precision_of_products_is_set_for_each_run(matmul) -> None:
    torch.set_float32_matmul_precision("medium")
    switch(replace(CPU, accelerator="gpu", matmul=matmul))
    assert torch.get_float32_matmul_precision() == matmul


@pytest.mark.parametrize(
    ("accelerator", "deterministic", "debug", "benchmark", "workspace"),
    [
        ("gpu", True, 1, False, ":4096:8"),
        ("gpu", False, 0, True, None),
        ("cpu", True, 0, False, None),
        ("cpu", False, 0, False, None),
        ("mps", True, 0, False, None),
    ],
)
def test_kernels_are_chosen_on_a_gpu_only(
    accelerator, deterministic, debug, benchmark, workspace
) -> None:
    torch.set_deterministic_debug_mode("default" if debug else "error")
    torch.backends.cudnn.benchmark = not benchmark
    switch(replace(CPU, accelerator=accelerator, deterministic=deterministic))
    assert torch.get_deterministic_debug_mode() == debug
    assert torch.backends.cudnn.benchmark is benchmark
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == workspace


def test_new_memory_is_not_filled_and_a_workspace_that_is_given_stays(monkeypatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    switch(replace(CPU, accelerator="gpu"))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    assert torch.utils.deterministic.fill_uninitialized_memory is False
