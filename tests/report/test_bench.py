from __future__ import annotations

import copy
from typing import Any

import pytest
from views import lines

from cnnctl.report import bench


def row(engine: str, batch: int, median: float, **changes: Any) -> dict[str, Any]:
    return {
        "engine": engine, "batch": batch, "median": median, "p95": 1.5 * median, "runs": 40,
        "images_per_second": batch / median, "flops": 5e6 * batch / median,
        "joules_per_image": None, "peak_memory_bytes": 660_000, "compile_seconds": None,
        "max_abs_difference": None, "max_abs_output": 2.0, "top1_agreement": None, "share": 0.128,
    } | changes  # fmt: skip


SAME = {"max_abs_difference": 2.4e-7, "top1_agreement": 1.0}
LENET: dict[str, Any] = {
    "name": "lenet5", "params": 61_706, "macs": 416_520, "input": [1, 32, 32], "takes": "float32",
    "channels_last": True,
    "rows": [
        row("eager", 1, 0.000234),
        row("compiled", 1, 0.000117, compile_seconds=17.04, **SAME),
        row("onnxruntime", 1, 0.0000307, peak_memory_bytes=None, **SAME),
        row("eager", 32, 0.0121),
        row("compiled", 32, 0.0095, compile_seconds=3.3, **SAME),
        row("onnxruntime", 32, 0.0083, peak_memory_bytes=None, **SAME),
    ],
    "unavailable": [],
}  # fmt: skip
DATA: dict[str, Any] = {
    "device": "cpu", "device_name": "A Fast CPU", "threads": 2, "precision": "32-true",
    "load": 0.4, "cores": 2, "seconds": 1.0, "matmul_flops": 208.4e9, "energy": None,
    "versions": {"torch": "2.15.0", "onnxruntime": "1.31.1"}, "nets": [LENET],
}  # fmt: skip
ZOO: dict[str, Any] = {
    **DATA, "plot": "zoo.png",
    "nets": [
        {**LENET, "name": name, "params": params, "macs": macs, "input": [3, 224, 224],
         "rows": [row("eager", 1, seconds, peak_memory_bytes=8 * params)],
         "top1": top1, "top1_of": "ImageNet, as it is stated"}
        for name, params, macs, seconds, top1 in (
            ("shufflenet_v2_x0_5", 1_366_792, 40_476_448, 0.0052, 0.60552),
            ("resnet50_v1_5", 25_557_032, 4_089_184_256, 0.1114, 0.7613),
            ("vgg19", 143_667_240, 19_632_062_464, 0.6099, 0.72376),
        )
    ],
}  # fmt: skip


def changed(**changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(DATA)
    made["nets"][0].update(changes)
    return made


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("view", "data"), [("benched", DATA), ("zoo", ZOO)])
def test_tables_are_as_kept(view, data, width, overwrite) -> None:
    from pathlib import Path

    file = Path(__file__).parents[1] / "golden" / f"{view}_{width}.txt"
    found = "\n".join(line.rstrip() for line in lines(view, data, width)) + "\n"
    if overwrite:
        file.write_text(found)
    assert found == file.read_text()


@pytest.mark.parametrize("width", [80, 100, 120, 160])
@pytest.mark.parametrize(("view", "data"), [("benched", DATA), ("zoo", ZOO)])
def test_no_row_is_wrapped(view, data, width) -> None:
    names = {row["engine"] for row in LENET["rows"]} if view == "benched" else {"vgg19"}
    rows = [line for line in lines(view, data, width) if line.split("  ")[0].strip() in names]
    assert len(rows) == (6 if view == "benched" else 1)
    assert all(len(line) <= width for line in rows)


def test_median_p95_and_rate_stand_at_any_width() -> None:
    for view, data in (("benched", DATA), ("zoo", ZOO)):
        head = next(line for line in lines(view, data, 80) if "median ms" in line)
        assert {"p95 ms", "images/s", "share"} <= set(head.replace("  ", "\n").split("\n")) | {
            word.strip() for word in head.split("  ")
        }


def test_columns_without_a_figure_are_left_out() -> None:
    rows = [row("onnxruntime", 1, 0.1, flops=None, share=None, peak_memory_bytes=None)]
    text = "\n".join(lines("benched", changed(rows=rows, macs=None, params=None)))
    for word in ("GFLOP/s  share", "memory", "differs", "J/image"):
        assert word not in text
    assert "lenet5 · 1×32×32 float32" in text


def test_energy_is_told_with_what_it_is_of() -> None:
    data = changed(rows=[row("eager", 1, 0.1, joules_per_image=0.0125)]) | {"energy": "RAPL"}
    text = "\n".join(lines("benched", data))
    assert "J/image" in text
    assert "0.0125" in text
    assert "energy: of all CPU packages, by RAPL, whoever uses it" in text
    text = "\n".join(lines("benched", data | {"device": "gpu", "energy": "NVML"}))
    assert "energy: of the whole GPU, by NVML, whoever uses it" in text
    assert "energy: no counter that can be read here" in lines("benched", DATA)


def test_engines_that_are_not_here_are_told_together() -> None:
    why = [{"engine": "eager", "batch": None, "reason": "no"},
           {"engine": "onnxruntime", "batch": None, "reason": "another"},
           {"engine": "compiled", "batch": None, "reason": "no"}]  # fmt: skip
    found = lines("benched", changed(unavailable=why))
    assert "not measured: eager, compiled – no" in found
    assert "not measured: onnxruntime – another" in found


def test_batches_that_failed_are_told_with_their_engine() -> None:
    why = [{"engine": "eager", "batch": 8, "reason": "no"},
           {"engine": "eager", "batch": 1024, "reason": "no"},
           {"engine": "compiled", "batch": None, "reason": "no"},
           {"engine": "eager", "batch": 9, "reason": "other"}]  # fmt: skip
    found = lines("benched", changed(unavailable=why))
    assert "not measured: eager, batch 8, 1,024; compiled – no" in found
    assert "not measured: eager, batch 9 – other" in found


@pytest.mark.parametrize("width", [80, 120])
def test_a_net_without_figures_has_only_its_reasons(width) -> None:
    why = [{"engine": "eager", "batch": None, "reason": "no"}]
    data = changed(rows=[], unavailable=why)
    found = lines("benched", data, width)
    assert found[found.index("not measured: eager – no") - 1].startswith("lenet5 · ")
    assert not [line for line in found if "median ms" in line]
    whole = copy.deepcopy(ZOO)
    whole["nets"].append({**LENET, "name": "vast", "rows": [], "unavailable": why, "top1_of": None})
    found = lines("zoo", whole, width)
    assert "not measured: vast – no" in found
    rows = [line for line in found if line.startswith("vast ")]
    assert rows == []


def test_another_answer_is_told() -> None:
    wrong = row("compiled", 8, 0.1, max_abs_difference=1.5, top1_agreement=0.75)
    text = "\n".join(lines("benched", changed(rows=[row("eager", 8, 0.1), wrong])))
    assert "compiled, batch 8: the same class as the first engine on 75.00 % of the images" in text
    assert " 0.8\n" in text
    nan = row("compiled", 8, 0.1, max_abs_difference=None, top1_agreement=0.0)
    assert any(line.rstrip().endswith(" ?") for line in lines("benched", changed(rows=[nan])))


def test_a_busy_machine_is_told() -> None:
    (line,) = [line for line in lines("benched", DATA | {"load": 3.21}) if "busy" in line]
    assert line == (
        "busy: a load of 3.2 on 2 cores before it began; times are longer than they could be"
    )
    for calm in (None, 0.9):
        assert not [line for line in lines("benched", DATA | {"load": calm}) if "busy" in line]


def test_what_is_not_counted_is_told() -> None:
    text = "\n".join(lines("benched", changed(not_counted="operators that nobody knows")))
    assert "multiply-adds not counted: operators that nobody knows" in text


def test_a_gpu_has_no_threads() -> None:
    first = lines("benched", DATA | {"device": "gpu", "device_name": "NVIDIA H200"})[0]
    assert first.split("  ")[-1].strip() == "gpu · NVIDIA H200"
    assert "cpu · 1 thread · A Fast CPU" in lines("benched", DATA | {"threads": 1})[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123456, "12.35"), (12.3, "12,300"), (0.0000307, "0.0307"), (1, "1,000")],
)
def test_milliseconds_have_four_digits(seconds, text) -> None:
    assert bench.ms(seconds) == text


def test_rates_have_units() -> None:
    assert bench.flops(1.25e12) == "1.2 TFLOP/s"
    assert bench.flops(208.4e9) == "208.4 GFLOP/s"


@pytest.mark.parametrize(
    ("value", "text"),
    [(25_557_032, "25.6 M"), (1_814_073_344, "1.81 G"), (138_357_544, "138 M"),
     (61_706, "61.7 k"), (12, "12"), (None, "–")],
)  # fmt: skip
def test_large_numbers_are_short(value, text) -> None:
    assert bench._short(value) == text
