from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import graphs
import pytest
import torch

from cnnctl.commands import bench

QUICK = ("seconds=0.001", "batch=1,2")
DATA = {
    "device", "device_name", "threads", "precision", "load", "cores", "seconds", "matmul_flops",
    "energy", "versions", "nets",
}  # fmt: skip
NET = {"name", "params", "macs", "input", "takes", "channels_last", "rows", "unavailable"}
ROW = {
    "engine", "batch", "median", "p95", "images_per_second", "runs", "peak_memory_bytes", "flops",
    "share", "joules_per_image", "compile_seconds", "max_abs_difference", "max_abs_output",
    "top1_agreement",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Products of small matrices, and a compiler that compiles nothing."""
    from cnnctl.latency import machine

    monkeypatch.setattr(machine, "SIDES", {"cpu": 64})
    monkeypatch.setattr(machine, "SECONDS", 0.001)
    monkeypatch.setattr(torch, "compile", lambda net, **_: net)


def result(cnnctl, *words: str) -> dict[str, Any]:
    outcome = cnnctl("bench", *words, *QUICK, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.document["result"]


def refused(cnnctl, *words: str) -> str:
    outcome = cnnctl("bench", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("cnnctl: error: ")
    return outcome.err.removeprefix("cnnctl: error: ").rstrip()


def test_the_contract(cnnctl) -> None:
    data = result(cnnctl, "lenet5")
    assert set(data) == DATA
    (net,) = data["nets"]
    assert set(net) == NET
    assert (net["params"], net["macs"], net["input"]) == (61_706, 416_520, [1, 32, 32])
    assert [(row["engine"], row["batch"]) for row in net["rows"]] == [
        (engine, batch) for batch in (1, 2) for engine in ("eager", "compiled", "onnxruntime")
    ]
    for row in net["rows"]:
        assert set(row) == ROW
        assert row["share"] == row["flops"] / data["matmul_flops"]
        assert row["flops"] == pytest.approx(2 * 416_520 * row["batch"] / row["median"])
    assert net["unavailable"] == []


def test_all_engines_compute_the_same(cnnctl) -> None:
    for row in result(cnnctl, "lenet5")["nets"][0]["rows"]:
        if row["engine"] != "eager":
            assert row["max_abs_difference"] < 1e-5 * row["max_abs_output"]
            assert row["top1_agreement"] == 1


def test_people_see_a_table_of_each_net(cnnctl) -> None:
    code, out, err = cnnctl("bench", "lenet5", "mlp", "engines=eager", *QUICK)
    assert (code, err) == (0, "")
    assert out.startswith("device     cpu · ")
    assert "lenet5 · 61,706 params · 416,520 macs · 1×32×32 float32\n" in out
    assert out.index("lenet5 · ") < out.index("mlp · ")
    assert out.count("\neager ") == 4
    assert list(Path().glob("outputs*")) == []


def test_threads_are_those_that_are_asked_for_and_go_back(cnnctl) -> None:
    before = torch.get_num_threads()
    assert result(cnnctl, "mlp", "engines=eager", "threads=2")["threads"] == 2
    assert torch.get_num_threads() == before


def test_another_precision_leaves_onnxruntime_out(cnnctl) -> None:
    data = result(cnnctl, "mlp", "precision=bf16-mixed")
    assert data["precision"] == "bf16-mixed"
    (net,) = data["nets"]
    assert {row["engine"] for row in net["rows"]} == {"eager", "compiled"}
    (why,) = net["unavailable"]
    assert why["engine"] == "onnxruntime"


def test_many_nets_are_sorted_by_their_time(cnnctl) -> None:
    outcome = cnnctl("bench", "--zoo", "resnet20", "mlp", "lenet5", QUICK[0], "--json")
    data = outcome.document["result"]
    times = [net["rows"][0]["median"] for net in data["nets"]]
    assert times == sorted(times)
    assert set(data) == DATA | {"plot"}
    for net in data["nets"]:
        assert set(net) == NET | {"top1", "top1_of"}
        (row,) = net["rows"]
        assert (row["engine"], row["batch"]) == ("eager", 1)


def test_many_nets_are_drawn(cnnctl) -> None:
    code, out, _ = cnnctl("bench", "--zoo", "mlp", "lenet5", QUICK[0], "--plot", "zoo.svg")
    assert code == 0
    assert "charts  zoo.svg\n" in out
    assert Path("zoo.svg").read_text().startswith("<?xml")
    assert "charts: --plot zoo.png" in cnnctl("bench", "--zoo", "mlp", QUICK[0]).out


def test_a_net_of_the_zoo_can_be_changed(cnnctl) -> None:
    (net,) = result(cnnctl, "mlp", "input=3x32x32", "engines=eager")["nets"]
    assert net["input"] == [3, 32, 32]
    (other,) = result(cnnctl, "mlp", "model.hidden=[5]", "engines=eager")["nets"]
    assert other["params"] == 1024 * 5 + 5 + 5 * 10 + 10


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "bench takes a net, a run or a file (cnnctl bench resnet18)"),
        (("resnet81",), "no net, run or file 'resnet81' (did you mean 'resnet18'?)"),
        (("latest",), "no finished run in outputs (make one with: cnnctl train)"),
        (("none.onnx",), "no file none.onnx"),
        (("mlp", "mlp"), "mlp is named twice (leave it out once)"),
        (("mlp", "checkpoint=last"),
         "'checkpoint=last' has no effect: no run is among the targets (leave it out)"),
        (("mlp", "outputs=mine"),
         "'outputs=mine' has no effect: no run is among the targets (leave it out)"),
        (("mlp", "--plot", "a.png"), "--plot is an option of: cnnctl bench --zoo"),
        (("--zoo", "--plot", "none/a.png"), "cannot write none/a.png: there is no folder none"),
        (("--zoo", "--plot", "a.jpg"),
         "--plot takes a file that ends in .png or .svg, got 'a.jpg' (--plot a.png)"),
        (("--zoo", "batch=1,2"), "--zoo draws one figure of each net, got batch=1,2 (batch=1)"),
        (("mlp", "model=lenet5"), "two nets at once: mlp and model=lenet5 (leave out one of them)"),
        (("mlp", "engine=eager"), "unknown key 'engine' (did you mean 'engines'?)"),
        (("mlp", "data.size=3"),
         ("data.size=3 has no effect: bench runs a net on made-up images (input=3x64x64)")),
        (("mlp", "hardware=gpu"),
         ("hardware=gpu has no effect: bench has keys of its own "
         "(device=cpu, precision=32-true, threads=1)")),
        (("mlp", "optimizer.lr=1"),
         "optimizer.lr=1 has no effect: bench trains nothing (leave it out)"),
        (("mlp", "batch=0"), "batch must be at least 1, got [0]"),
        (("lenet5", "input=1x8x8"),
         ("lenet5: a 8x8 image is too small for layer 'c3': (2 − 5)/1 + 1 = -2 "
         "(its own: input=1x32x32)")),
        (("mlp", "precision=16-true"),
         "precision=16-true does not work on this cpu (use 32-true or bf16-mixed)"),
        (("mlp", "device=mps"),
         "device=mps, but torch sees no such device here (use device=cpu)"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(cnnctl, words, text) -> None:
    assert refused(cnnctl, *words) == text


def test_a_second_target_is_checked_before_the_first_is_measured(cnnctl, monkeypatch) -> None:
    from cnnctl.latency import clock

    monkeypatch.setattr(clock, "rounds", None)
    assert "too small" in refused(cnnctl, "mlp", "lenet5", "input=1x8x8")
    file = graphs.write(Path("net.onnx"), [graphs.node("Relu", "x", "y")], image=(1, 3, "h", "w"))
    assert "does not say how large" in refused(cnnctl, "mlp", str(file))
    graphs.write(file, [graphs.node("Relu", "x", "y")], image=(4, 3, 8, 8))
    assert refused(cnnctl, "mlp", str(file), "batch=1,2") == (
        "net.onnx takes batches of 4, got batch=1,2 (batch=4)"
    )
    graphs.write(file, [graphs.node("Det", "x", "y")], image=("n", 3, 8, 8))
    words = ("--zoo", "mlp", str(file), "engines=onnxruntime", "--plot", "zoo.png")
    assert refused(cnnctl, *words) == (
        "net.onnx has no parameters or multiply-adds that are known (leave out net.onnx, or --plot)"
    )


def test_threads_are_of_a_cpu_alone(cnnctl, monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert refused(cnnctl, "mlp", "threads=2") == (
        "threads=2 has no effect: device=auto is mps here (device=cpu, or leave it out)"
    )


def test_ctrl_c_leaves_nothing(cnnctl, monkeypatch) -> None:
    from cnnctl.latency import clock

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "rounds", interrupted)
    before = set(Path().rglob("*"))
    outcome = cnnctl("bench", "--zoo", "mlp", "--plot", "zoo.png", "--json")
    assert (outcome.code, outcome.document["error"]["kind"]) == (130, "interrupted")
    assert set(Path().rglob("*")) == before


def test_keys_of_a_training_are_refused_for_a_file_as_well(cnnctl) -> None:
    file = graphs.write(Path("net.onnx"), [graphs.node("Relu", "x", "y")], image=("n", 3, 8, 8))
    text = "data.size=3 has no effect: bench runs a net on made-up images (input=3x64x64)"
    assert refused(cnnctl, str(file), "data.size=3") == text


def test_typos_need_no_torch(process) -> None:
    outcome = process("bench", "mlp", "engine=eager", "--json", PYTHONPROFILEIMPORTTIME="1")
    assert outcome.code == 2
    assert json.loads(outcome.out)["error"]["hint"] == "did you mean 'engines'?"
    assert "| torch\n" not in outcome.err


def test_what_is_said_of_devices_is_said_in_the_words_of_this_verb() -> None:
    from cnnctl.errors import Problem

    found = bench._reworded(
        Problem("hardware.precision=16-true does not work", "hardware=cpu", "hardware.precision")
    )
    assert str(found) == "precision=16-true does not work (device=cpu)"
    assert found.key == "precision"
