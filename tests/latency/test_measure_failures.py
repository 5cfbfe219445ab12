from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from benched import BENCH, absent, case, engine, late, measured
from stubs import device
from torch import Tensor

from cnnctl.errors import NetError
from cnnctl.latency import measure

FULL = "a batch of 1 does not fit into the memory of the device (a smaller input)"
CPU_FULL = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 2048000000000 bytes."
)


def test_an_engine_that_is_not_here_is_listed() -> None:
    net = replace(case(eager=engine(), onnxruntime=absent), absent={"compiled": "why not"})
    found = measured(net, BENCH, print)
    assert {row["engine"] for row in found["rows"]} == {"eager"}
    assert found["unavailable"] == [
        {"engine": "compiled", "batch": None, "reason": "why not"},
        {"engine": "onnxruntime", "batch": None, "reason": "it is not installed (pip install it)"},
    ]


def test_an_engine_that_cannot_be_built_is_not_asked_again() -> None:
    found = measured(case(eager=engine(), compiled=engine(fails=1)), BENCH, print)
    assert [row["engine"] for row in found["rows"]] == ["eager", "eager"]
    assert found["unavailable"] == [{"engine": "compiled", "batch": None, "reason": "it is broken"}]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(torch.OutOfMemoryError(), FULL), (MemoryError(), FULL), (RuntimeError(CPU_FULL), FULL),
     (RuntimeError("Failed to allocate memory for requested buffer of size 5"), FULL),
     (RuntimeError("mat1 and mat2\nmore"), "eager fails: mat1 and mat2"),
     (NetError("no", "type this"), "no (type this)")],
)  # fmt: skip
def test_a_batch_that_fails_stops_no_other(error, reason) -> None:
    failing = [late(1, error)]
    if not isinstance(error, NetError):
        failing.append(engine(fails=1, error=error))
    for one in failing:
        found = measured(case(eager=one, compiled=engine()), BENCH, print)
        assert [(row["engine"], row["batch"]) for row in found["rows"]] == [
            ("compiled", 1), ("eager", 2), ("compiled", 2),
        ]  # fmt: skip
        assert found["unavailable"] == [{"engine": "eager", "batch": 1, "reason": reason}]


def test_a_net_that_does_not_fit_is_told() -> None:
    def full() -> Any:
        raise torch.OutOfMemoryError

    found = measured(case(eager=full, compiled=engine()), BENCH, print)
    assert {row["engine"] for row in found["rows"]} == {"compiled"}
    assert found["unavailable"] == [
        {"engine": "eager", "batch": None,
         "reason": "the net does not fit into the memory of the device"},
    ]  # fmt: skip


@pytest.mark.parametrize("batch", [10**12, 10**18, 10**20])
def test_images_that_do_not_fit_leave_the_other_batches(batch) -> None:
    found = measured(case(eager=engine()), replace(BENCH, batch=(1, batch)), print)
    assert [row["batch"] for row in found["rows"]] == [1]
    (why,) = found["unavailable"]
    assert (why["engine"], why["batch"]) == ("eager", batch)
    assert why["reason"].startswith(f"a batch of {batch:,} does not fit into the memory")


@pytest.mark.parametrize("after", [2, 20])
def test_one_that_fails_while_it_is_measured_loses_only_its_row(after) -> None:
    left = after

    def tired() -> Any:
        def run() -> Tensor:
            nonlocal left
            left -= 1
            if left < 0:
                raise torch.OutOfMemoryError
            return torch.zeros(1, 3)

        return lambda _: run

    only = replace(BENCH, batch=(1,))
    found = measured(case(eager=engine(), compiled=tired), only, print)
    assert [row["engine"] for row in found["rows"]] == ["eager"]
    assert found["unavailable"] == [{"engine": "compiled", "batch": 1, "reason": FULL}]


def test_one_that_fails_while_its_memory_is_measured_loses_only_its_row(monkeypatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(measure.memory, "peak", full)
    found = measured(case(eager=engine(), onnxruntime=engine()), BENCH, print)
    assert [row["engine"] for row in found["rows"]] == ["onnxruntime"] * 2
    assert [one["batch"] for one in found["unavailable"]] == [1, 2]


def test_a_mistake_of_ours_is_no_failure_of_an_engine() -> None:
    with pytest.raises(KeyError):
        measured(case(eager=engine(fails=1, error=KeyError("mine"))), BENCH, print)


def test_what_failed_keeps_no_tensors() -> None:
    kept: list[weakref.ref[Tensor]] = []

    def full(images: Tensor) -> Any:
        large = images + 1
        kept.append(weakref.ref(large))
        raise NetError("no") from ValueError(large)

    found = measure.measure(case(eager=lambda: full, compiled=engine()), BENCH, print)
    assert len(found.missing) == len(kept) == 1
    gc.collect()
    assert kept[0]() is None


def test_memory_of_a_gpu_is_given_back_to_other_libraries(monkeypatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given.append("back"))
    monkeypatch.setattr(measure.memory, "peak", lambda *_: None)

    def built(name: str) -> Any:
        def made(_: Tensor) -> Any:
            given.append(name)
            raise torch.OutOfMemoryError

        return lambda: made

    gpu = replace(BENCH, device=device(1, accelerator="gpu"), batch=(1,))
    measured(case(eager=built("eager"), onnxruntime=built("onnxruntime")), gpu, print)
    assert given[given.index("eager") :][:3] == ["eager", "back", "onnxruntime"]
    given.clear()
    measured(case(eager=engine()), BENCH, print)
    assert given == []


def test_an_engine_that_gives_outputs_of_another_size_stops_no_other() -> None:
    def wide() -> Any:
        return lambda images: lambda: images.flatten(1)

    found = measured(case(eager=engine(), compiled=wide), BENCH, print)
    assert [(row["engine"], row["batch"]) for row in found["rows"]] == [("eager", 1), ("eager", 2)]
    assert found["unavailable"][0] == {
        "engine": "compiled", "batch": 1,
        "reason": "two engines give 1x3 and 1x4 numbers for the same images",
    }  # fmt: skip
