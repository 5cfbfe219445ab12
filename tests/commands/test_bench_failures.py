from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import pytest
import torch

QUICK = ("seconds=0.001", "batch=1,2")


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Products of small matrices, and a compiler that compiles nothing."""
    from cnnctl.latency import machine

    monkeypatch.setattr(machine, "SIDES", {"cpu": 64})
    monkeypatch.setattr(machine, "SECONDS", 0.001)
    monkeypatch.setattr(torch, "compile", lambda net, **_: net)


def refused(cnnctl, *words: str) -> str:
    outcome = cnnctl("bench", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("cnnctl: error: ")
    return outcome.err.removeprefix("cnnctl: error: ").rstrip()


def test_a_batch_that_does_not_fit_leaves_the_others(cnnctl) -> None:
    words = ("lenet5", "batch=1,500000000", "engines=eager,onnxruntime", QUICK[0], "--json")
    outcome = cnnctl("bench", *words)
    assert (outcome.code, outcome.err) == (1, "")
    (net,) = outcome.document["result"]["nets"]
    assert [(row["engine"], row["batch"]) for row in net["rows"]] == [
        ("eager", 1), ("onnxruntime", 1),
    ]  # fmt: skip
    text = "a batch of 500,000,000 does not fit into the memory of the device (a smaller batch)"
    assert net["unavailable"] == [
        {"engine": engine, "batch": 500_000_000, "reason": text}
        for engine in ("eager", "onnxruntime")
    ]
    assert refused(cnnctl, "lenet5", "batch=500000000") == text


@pytest.mark.parametrize(
    ("words", "code"), [((), 0), (("engines=eager,compiled",), 1), (("batch=2",), 0)]
)
def test_an_engine_that_fails_is_an_error_if_it_was_asked_for(
    cnnctl, monkeypatch, words, code
) -> None:
    def none(*_: object, **__: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr(torch, "compile", none)
    outcome = cnnctl("bench", "mlp", QUICK[0], *words, "--json")
    assert outcome.code == code
    (net,) = outcome.document["result"]["nets"]
    assert {one["engine"] for one in net["unavailable"]} == {"compiled"}
    assert "eager" in {row["engine"] for row in net["rows"]}


def test_a_net_that_nothing_runs_leaves_the_others(cnnctl) -> None:
    nodes = [graphs.node("Flatten", "x", "f"), graphs.node("Gemm", "f w", "y")]
    file = graphs.write(Path("net.onnx"), nodes, {"w": (192, 5)}, image=("n", 3, "h", "w"))
    text = (
        "onnxruntime does not take these images: GEMM: Dimension mismatch, W: {192,5} K: 3072 N:5 "
        "(another size: input=3x224x224)"
    )
    assert refused(cnnctl, str(file), "input=3x32x32") == text
    words = ("mlp", str(file), "input=3x32x32", "engines=onnxruntime", *QUICK)
    outcome = cnnctl("bench", *words)
    assert (outcome.code, outcome.err) == (1, "")
    assert f"not measured: onnxruntime, batch 1, 2 – {text}\n" in outcome.out
    words = ("--zoo", str(file), "mlp", "input=3x32x32", "engines=onnxruntime", QUICK[0])
    outcome = cnnctl("bench", *words)
    assert (outcome.code, outcome.err) == (1, "")
    assert f"not measured: {file} – {text}\n" in outcome.out
    nets = cnnctl("bench", *words, "--json").document["result"]["nets"]
    assert [(net["name"], len(net["rows"])) for net in nets] == [("mlp", 1), (str(file), 0)]


def test_an_engine_that_is_asked_for_must_be_here(cnnctl, monkeypatch) -> None:
    def none(*_: object, **__: object) -> Any:
        def fails(images: object) -> None:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

        return fails

    monkeypatch.setattr(torch, "compile", none)
    text = "torch.compile needs a C++ compiler (install g++ or clang)"
    assert refused(cnnctl, "mlp", "engines=compiled", *QUICK) == text
    outcome = cnnctl("bench", "mlp", *QUICK, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    (net,) = outcome.document["result"]["nets"]
    assert net["unavailable"] == [{"engine": "compiled", "batch": None, "reason": text}]
    assert {row["engine"] for row in net["rows"]} == {"eager", "onnxruntime"}
