from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from stubs import device

from cnnctl.latency import machine


@pytest.fixture
def small(monkeypatch) -> None:
    monkeypatch.setattr(machine, "SIDES", {"cpu": 64})
    monkeypatch.setattr(machine, "SECONDS", 0.001)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_products_of_matrices_have_a_rate(small, precision) -> None:
    found = machine.matmul_flops(device(1, precision=precision))
    assert 0 < found < float("inf")


def test_the_rate_is_that_of_the_best_product_but_the_first(small, monkeypatch) -> None:
    ticks = iter([0.0, 0.0, 0.1, 0.2, 5.2, 6.0, 8.0, 9.0, 10.0, 10.0])
    # began; the loop asks only once LEAST are made; then start and end of each but the first
    monkeypatch.setattr(machine, "LEAST", 3)
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(machine, "SECONDS", 0)
    assert machine.matmul_flops(device(1)) == pytest.approx(2 * 64**3 / 0.1)


def test_products_are_made_in_the_format_of_the_precision(small, monkeypatch) -> None:
    kinds = []
    product = torch.mm

    def seen(one: torch.Tensor, other: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        kinds.append(out.dtype)
        return product(one, other, out=out)

    monkeypatch.setattr(torch, "mm", seen)
    machine.matmul_flops(device(1, precision="bf16-mixed"))
    assert set(kinds) == {torch.bfloat16}


def flags() -> tuple[Any, ...]:
    return (
        torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32,
        torch.get_float32_matmul_precision(), torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,  # pyright: ignore[reportAttributeAccessIssue] - torch's annotation lacks it
    )  # fmt: skip


@pytest.mark.parametrize("odd", [False, True])
def test_afterwards_all_switches_are_as_before(odd) -> None:
    usual = flags()
    try:
        if odd:
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = True
            torch.set_deterministic_debug_mode("warn")
        before = flags()
        with machine.prepared(device(1), 3):
            assert flags()[:2] == (3, True)
            assert torch.get_deterministic_debug_mode() == 0
        assert flags() == before
        with pytest.raises(KeyboardInterrupt), machine.prepared(device(1), 2):
            raise KeyboardInterrupt
        assert flags() == before
    finally:
        torch.set_float32_matmul_precision(usual[3])
        torch.backends.cudnn.allow_tf32 = usual[2]
        torch.backends.cudnn.benchmark = usual[1]
        torch.set_deterministic_debug_mode(usual[4])
    assert flags() == usual


@pytest.mark.parametrize(("matmul", "tf32"), [("highest", False), ("high", True)])
def test_convolutions_are_as_precise_as_products(matmul, tf32) -> None:
    with machine.prepared(device(1, matmul=matmul), None):
        assert torch.get_float32_matmul_precision() == matmul
        assert torch.backends.cudnn.allow_tf32 is tf32
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        kind = torch.backends.cudnn.conv.fp32_precision  # pyright: ignore[reportAttributeAccessIssue] - torch's annotation lacks it
        assert (kind == "tf32") is tf32


def test_without_a_number_the_threads_stay() -> None:
    before = torch.get_num_threads()
    with machine.prepared(device(1), None):
        assert torch.get_num_threads() == before


def test_the_processor_is_named_by_itself(tmp_path, monkeypatch) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: A  CPU: fast \nprocessor\t: 1\n")
    monkeypatch.setattr(machine, "CPUINFO", file)
    assert machine.name(device(1)) == "A CPU: fast"
    monkeypatch.setattr(machine, "CPUINFO", Path("none"))
    assert machine.name(device(1))


def test_a_gpu_is_named_by_its_driver(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"name of {place}")
    assert machine.name(device(1, accelerator="gpu")) == "name of cuda:0"


def test_the_load_is_told_where_it_is_known(monkeypatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (2.5, 1.0, 0.5))
    assert machine.load() == 2.5
    monkeypatch.delattr(os, "getloadavg")
    assert machine.load() is None


def test_cores_are_those_that_we_may_have(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.cores() == 6


def test_a_device_is_waited_for(monkeypatch) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    for kind in ("cpu", "cuda:1", "mps"):
        machine.synchronise(torch.device(kind))
    assert waited == [torch.device("cuda:1"), "mps"]


def test_the_versions_of_what_is_installed() -> None:
    assert torch.__version__.startswith(machine.versions()["torch"])
