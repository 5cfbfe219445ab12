from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
import torch
from stubs import device
from torch import Tensor

from cnnctl.errors import CheckpointError, NetError, UsageError
from cnnctl.latency import engines

CPU = device(1)
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def relu(tmp_path: Path, image: tuple[int | str, ...] = ("n", 3, 8, 8)) -> Path:
    return graphs.write(tmp_path / "net.onnx", [graphs.node("Relu", "x", "y")], image=image)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_onnxruntime_runs_a_file_or_its_bytes(tmp_path, as_bytes) -> None:
    file = relu(tmp_path)
    run = engines.onnxruntime(file.read_bytes() if as_bytes else file, CPU)(IMAGES)
    assert torch.equal(run(), IMAGES.relu())


def test_onnxruntime_takes_what_lies_otherwise(tmp_path) -> None:
    images = IMAGES.to(memory_format=torch.channels_last)
    assert torch.equal(engines.onnxruntime(relu(tmp_path), CPU)(images)(), IMAGES.relu())


def gemm(tmp_path: Path, *more: Any, image: tuple[int | str, ...] = ("n", 3, "h", "w")) -> Path:
    nodes = [graphs.node("Flatten", "x", "f"), graphs.node("Gemm", "f w", "y"), *more]
    weights = {"w": np.zeros((192, 5), np.float32)}
    return graphs.write(tmp_path / "net.onnx", nodes, weights, image=image)


def test_what_onnxruntime_cannot_run_is_one_line_and_no_log(tmp_path, capfd) -> None:
    run = engines.onnxruntime(gemm(tmp_path), CPU)
    assert run(IMAGES)().shape == (2, 5)
    with pytest.raises(NetError) as caught:
        run(torch.zeros(1, 3, 9, 9))()
    assert str(caught.value) == (
        "onnxruntime does not take these images: "
        "GEMM: Dimension mismatch, W: {192,5} K: 243 N:5 (another size: input=3x224x224)"
    )
    assert capfd.readouterr() == ("", "")


def test_where_the_size_is_fixed_no_other_is_advised(tmp_path) -> None:
    file = gemm(tmp_path, image=("n", 3, 8, 8))
    with pytest.raises(NetError) as caught:
        engines.onnxruntime(file, CPU)(torch.zeros(1, 3, 9, 9))()
    assert "Got: 9 Expected: 8" in str(caught.value)
    assert caught.value.hint is None
    assert "\n" not in str(caught.value)


def test_too_little_memory_of_onnxruntime_is_told_as_such(tmp_path, capfd) -> None:
    nodes = [graphs.node("Flatten", "x", "f"), graphs.node("Expand", "f many", "y")]
    many = {"many": [10**12, 1, 192]}  # more bytes than a process has addresses
    file = graphs.write(tmp_path / "net.onnx", nodes, many, image=("n", 3, 8, 8))
    with pytest.raises(MemoryError, match="Failed to allocate memory"):
        engines.onnxruntime(file, CPU)(IMAGES)()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("told", "reason"),
    [(("[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape. "
      "Name:'' Status Message: /a/b.h:84 C::C(const T&) s != 0 was false. It cannot be done"),
      "It cannot be done"),
     ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got\n 4", "Got 4"), ("", "RuntimeError")],
)  # fmt: skip
def test_only_the_reason_is_told(told, reason) -> None:
    def fails() -> Tensor:
        raise RuntimeError(told)

    with pytest.raises(NetError) as caught:
        engines._told(fails, "net.pt2")()
    assert str(caught.value) == f"net.pt2 does not take these images: {reason}"


def test_onnxruntime_is_not_everywhere(tmp_path) -> None:
    with pytest.raises(UsageError, match="onnxruntime runs on cpu or gpu, got mps"):
        engines.onnxruntime(relu(tmp_path), device(1, accelerator="mps"))
    with pytest.raises(UsageError, match="this onnxruntime has no GPU"):
        engines.onnxruntime(relu(tmp_path), device(1, accelerator="gpu"))


def test_a_file_that_is_none_is_refused(tmp_path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        engines.onnxruntime(tmp_path / "net.onnx", CPU)


def test_what_stays_on_a_gpu_is_copied_once_to_be_compared() -> None:
    told: list[str] = []

    def say(word: str) -> Tensor:
        told.append(word)
        return IMAGES

    run = engines._Copied(lambda: say("run"), lambda: say("copied"))
    for _ in range(3):
        run()
    assert told == ["copied", "run", "run"]
