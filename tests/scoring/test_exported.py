"""Exported files as scorers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from exports import cpu, pixels

from cnnctl import manifest
from cnnctl.cli import main
from cnnctl.errors import CheckpointError, UsageError
from cnnctl.export.silence import quiet
from cnnctl.scoring import exported
from cnnctl.scoring.exported import ONLY_DATA

PROGRAMS = ("onnx", "torch_export", "torchscript")


def opened(file: Path) -> exported.Exported:
    about, (train, device) = manifest.read(file), cpu()
    assert about is not None
    return exported.load(file, about, train, device)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_all_formats_give_the_same_logits(files: dict[str, Path], kind: str) -> None:
    given = pixels(5, 1, 32, 32)
    wanted, found = opened(files["torchscript"]), opened(files[kind])
    assert found.classes == tuple("0123456789")
    logits = found(given)
    assert logits.shape == (5, 10)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits.softmax(1), wanted(given).softmax(1), atol=1e-5)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_loss_is_cross_entropy(files: dict[str, Path], kind: str) -> None:
    found, labels = opened(files[kind]), torch.tensor([1, 2, 3])
    logits = found(pixels(3, 1, 32, 32))
    wanted = torch.nn.functional.cross_entropy(logits, labels)
    assert torch.equal(found.loss(logits, labels), wanted)
    object.__setattr__(found.manifest, "own_loss", True)
    assert found.loss(logits, labels) is None


def test_a_file_of_one_image_is_asked_one_by_one(run: Path, tmp_path: Path) -> None:
    words = ["dynamic_batch=false", "images=4", f"output={tmp_path / 'one'}"]
    assert main(["export", str(run), *words]) == 0
    given = pixels(5, 1, 32, 32)
    found = opened(tmp_path / "one" / "lenet5.onnx")
    parts = [found(one) for one in given.split(1)]
    assert torch.equal(found(given), torch.cat(parts))


def test_a_probability_of_zero_stays_finite() -> None:
    train, _ = cpu()
    about = manifest.Manifest(
        format="onnx", model="m", include=("preprocess", "softmax"), dynamic_batch=True,
        precision="fp32", quantize=None, classes=("a", "b"), channels=1, size=32, mean=(0.5,),
        std=(0.5,), own_loss=False, run="", checkpoint="", weights_sha256="", versions={},
        config={},
    )  # fmt: skip
    found = exported.Exported(about, lambda _: torch.tensor([[1.0, 0.0]]), train)
    logits = found(pixels(1, 1, 32, 32))
    assert torch.isfinite(logits).all()
    assert torch.allclose(logits.softmax(1), torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_file_that_was_cut_off_is_one_line(
    files: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    about, (train, device) = manifest.read(files[kind]), cpu()
    assert about is not None
    broken = tmp_path / files[kind].name
    broken.write_bytes(files[kind].read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        exported.load(broken, about, train, device)
    assert "\n" not in caught.value.message
    assert ONLY_DATA not in os.environ


def test_a_device_that_no_file_runs_on_is_refused(files: dict[str, Path]) -> None:
    about, (train, device) = manifest.read(files["onnx"]), cpu()
    assert about is not None
    object.__setattr__(device, "accelerator", "mps")
    with pytest.raises(UsageError, match="run on cpu or gpu, got mps"):
        exported.load(files["onnx"], about, train, device)


def test_onnxruntime_without_a_gpu_says_so(files: dict[str, Path]) -> None:
    _, device = cpu()
    object.__setattr__(device, "accelerator", "gpu")
    with pytest.raises(UsageError, match="no GPU") as caught:
        exported.session(files["onnx"], device)
    assert (caught.value.hint or "").startswith("hardware=cpu, or pip install onnxruntime-gpu")


class Falling:
    """An onnxruntime whose GPU does not start."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.asked: list[Any] = []

    def __call__(self, _file: str, _options: Any, **more: Any) -> Falling:
        self.asked.append(more)
        return self

    def get_providers(self) -> list[str]:
        return [self.provider, "CPUExecutionProvider"]


@pytest.mark.parametrize(("devices", "number"), [(1, 0), ((1,), 1)])
def test_a_gpu_that_does_not_start_is_no_cpu(
    files: dict[str, Path], monkeypatch, devices: Any, number: int
) -> None:
    _, device = cpu()
    object.__setattr__(device, "accelerator", "gpu")
    object.__setattr__(device, "devices", devices)
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    falling = Falling("CPUExecutionProvider")
    monkeypatch.setattr(onnxruntime, "InferenceSession", falling)
    with pytest.raises(UsageError, match="would run on CPUExecutionProvider"):
        exported.session(files["onnx"], device)
    (asked,) = falling.asked
    wanted = {"device_id": number, "use_tf32": "0"}
    assert asked["providers"] == [("CUDAExecutionProvider", wanted)]
    assert not asked["enable_fallback"]
    monkeypatch.setattr(onnxruntime, "InferenceSession", Falling("CUDAExecutionProvider"))
    assert exported.session(files["onnx"], device) is not None


def test_onnxruntime_itself_says_nothing(tmp_path: Path, capfd) -> None:
    """Its log goes past Python, straight to the terminal."""
    _, device = cpu()
    (tmp_path / "net.onnx").write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match="cannot be read"):
        exported.session(tmp_path / "net.onnx", device)
    assert capfd.readouterr() == ("", "")


def test_a_trace_that_is_bound_to_the_cpu_says_so_on_a_gpu(tmp_path: Path) -> None:
    class Counting(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.sum((1, 2, 3))[:, None] + torch.arange(images.shape[0])

    _, device = cpu()
    file = tmp_path / "net.torchscript"
    with quiet():
        torch.jit.save(torch.jit.trace(Counting(), torch.zeros(2, 1, 4, 4)), str(file))
    assert exported.OPENERS["torchscript"](file, device) is not None
    object.__setattr__(device, "accelerator", "gpu")
    with pytest.raises(UsageError, match="computes on the CPU alone"):
        exported.OPENERS["torchscript"](file, device)


@pytest.mark.parametrize("value", [None, "0"])
def test_what_torch_is_told_ends_with_the_loading(
    files: dict[str, Path], monkeypatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(ONLY_DATA, raising=False)
    else:
        monkeypatch.setenv(ONLY_DATA, value)
    opened(files["torch_export"])
    assert os.environ.get(ONLY_DATA) == value
