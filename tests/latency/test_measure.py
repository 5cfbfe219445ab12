from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from benched import BENCH, case, engine, measured

from cnnctl.errors import NetError
from cnnctl.latency import clock, measure
from cnnctl.latency.energy import Meter

ROW = [
    "engine", "batch", "median", "p95", "runs", "images_per_second", "flops", "joules_per_image",
    "peak_memory_bytes", "compile_seconds", "max_abs_difference", "max_abs_output",
    "top1_agreement",
]  # fmt: skip


def test_there_is_a_row_for_each_batch_and_engine() -> None:
    said: list[str] = []
    found = measured(case(eager=engine(), onnxruntime=engine()), BENCH, said.append)
    rows = found["rows"]
    assert [(row["engine"], row["batch"]) for row in rows] == [
        ("eager", 1), ("onnxruntime", 1), ("eager", 2), ("onnxruntime", 2),
    ]  # fmt: skip
    assert all(list(row) == ROW for row in rows)
    assert said == ["batch 1", "batch 2"]
    assert found["unavailable"] == []


def test_the_figures_follow_from_the_median() -> None:
    for row in measured(case(eager=engine()), BENCH, print)["rows"]:
        assert 0 < row["median"] <= row["p95"]
        assert row["images_per_second"] == row["batch"] / row["median"]
        assert row["flops"] == 2 * 50 * row["batch"] / row["median"]
        assert row["runs"] >= 10
        assert row["joules_per_image"] is None


def test_memory_is_weights_batch_and_what_the_pass_takes() -> None:
    found = measured(case(eager=engine(), onnxruntime=engine()), BENCH, print)
    peaks = [row["peak_memory_bytes"] for row in found["rows"]]
    assert peaks[1::2] == [None, None]  # it has its own memory, of which we know nothing
    for peak, batch in zip(peaks[::2], (1, 2), strict=True):
        assert 1000 + 16 * batch + 2 * 12 * batch <= peak <= 1100 + 16 * batch + 2 * 12 * batch
    unknown = replace(case(eager=engine()), weight_bytes=None, macs=None)
    for row in measured(unknown, BENCH, print)["rows"]:
        assert row["peak_memory_bytes"] is row["flops"] is None


def test_every_engine_is_compared_with_the_first() -> None:
    found = measured(case(eager=engine(), compiled=engine(0.5)), BENCH, print)
    first, other = found["rows"][:2]
    assert first["max_abs_difference"] is first["top1_agreement"] is None
    assert first["max_abs_output"] == other["max_abs_output"] > 0
    assert other["max_abs_difference"] == pytest.approx(0.5, abs=1e-6)
    assert other["top1_agreement"] == 1
    assert first["compile_seconds"] is None
    assert 0 < other["compile_seconds"] < 10


def test_what_is_no_number_is_told_as_none() -> None:
    nan = float("nan")
    row = measured(case(eager=engine(), compiled=engine(nan)), BENCH, print)["rows"][1]
    assert row["max_abs_difference"] is None
    assert row["top1_agreement"] is not None
    one, other = torch.tensor([[nan, 1.0]]), torch.tensor([[0.0, 1.0]])
    assert measure.beside(other, one) == {
        "max_abs_difference": None, "max_abs_output": None, "top1_agreement": 0.0
    }  # fmt: skip


def test_another_class_is_noticed() -> None:
    one, other = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[1.0, 0], [2, 1]])
    assert measure.beside(other, one) == {
        "max_abs_difference": 2.0, "max_abs_output": 1.0, "top1_agreement": 0.5
    }  # fmt: skip


def test_outputs_of_other_sizes_are_an_error() -> None:
    with pytest.raises(NetError, match="two engines give 2x4 and 2x3 numbers"):
        measure.beside(torch.zeros(2, 3), torch.zeros(2, 4))


def test_energy_is_shared_out_over_the_images(monkeypatch) -> None:
    joules = iter(range(0, 10**6, 7))
    meter = Meter("RAPL", lambda: float(next(joules)))
    for row in measured(case(eager=engine()), replace(BENCH, meter=meter), print)["rows"]:
        turns = 2 * 7 * 5
        assert 0 < row["joules_per_image"] <= turns / (row["runs"] * row["batch"])
    monkeypatch.setattr(clock, "STEP", 0)
    still = replace(BENCH, meter=Meter("RAPL", lambda: 1.0))
    for row in measured(case(eager=engine()), still, print)["rows"]:
        assert row["joules_per_image"] is None  # over before the counter moved
    broken = replace(BENCH, meter=Meter("NVML", lambda: None))
    for row in measured(case(eager=engine()), broken, print)["rows"]:
        assert row["joules_per_image"] is None


def test_the_images_are_the_same_each_time() -> None:
    one, other = (measure.images(case(), 3) for _ in range(2))
    assert torch.equal(one, other)
    assert (one.shape, one.dtype) == ((3, 1, 2, 2), torch.float32)
    assert torch.equal(measure.images(replace(case(), type=torch.float16), 3), one.half())


def test_bytes_are_all_bytes() -> None:
    net = replace(case(), type=torch.uint8, shape=(3, 64, 64))
    found = measure.images(net, 1)
    assert (found.dtype, int(found.min()), int(found.max())) == (torch.uint8, 0, 255)
