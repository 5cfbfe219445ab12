from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import graphs
import pytest
import torch
from stubs import device
from torch import Tensor, nn

from cnnctl.errors import CheckpointError, NetError, UsageError
from cnnctl.latency import engines

CPU = device(1)
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Seen(nn.Module):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)
        self.given: list[Tensor] = []
        self.modes: list[tuple[bool, bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.given.append(images)
        modes = self.training, torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        self.modes.append(modes)
        return self.fc(self.conv(images).mean((2, 3)))


@pytest.mark.parametrize("last", [False, True])
def test_eager_is_the_net_as_it_is_evaluated(last) -> None:
    net = Seen().train()
    run = engines.eager(net, CPU, channels_last=last)(IMAGES)
    found = run()
    assert net.modes == [(False, True, False)]
    assert net.given[0].is_contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )
    assert torch.equal(net.given[0], IMAGES)
    with torch.no_grad():
        assert torch.allclose(found, net(IMAGES), atol=1e-6)


def test_the_images_are_laid_out_before_the_pass() -> None:
    net = Seen()
    run = engines.eager(net, CPU, channels_last=True)(IMAGES)
    run()
    run()
    assert net.given[0] is net.given[1]


@pytest.mark.parametrize(
    ("precision", "weights", "given", "mixed"),
    [("32-true", torch.float32, torch.float32, False),
     ("bf16-true", torch.bfloat16, torch.bfloat16, False),
     ("bf16-mixed", torch.float32, torch.float32, True)],
)  # fmt: skip
def test_eager_follows_the_precision(precision, weights, given, mixed) -> None:
    net = Seen()
    engines.eager(net, device(1, precision=precision), channels_last=True)(IMAGES)()
    assert net.conv.weight.dtype is weights
    assert net.given[0].dtype is given
    assert net.modes[0][2] is mixed


def test_compiled_is_compiled_for_each_batch_size(monkeypatch) -> None:
    made: list[Any] = []

    def fake(net: nn.Module, *, dynamic: bool) -> nn.Module:
        made.append((net, dynamic))
        return net

    monkeypatch.setattr(torch, "compile", fake)
    net = Seen()
    engine = engines.compiled(net, CPU, channels_last=True)
    assert made == []
    run = engine(IMAGES)
    assert made == [(net, False)]
    assert len(net.given) == 1  # the first pass compiles
    run()
    engine(IMAGES[:1])
    assert len(made) == 2
    assert [len(images) for images in net.given] == [2, 2, 1]


@pytest.mark.parametrize(
    ("told", "text"),
    [("InvalidCxxCompiler: No working C++ compiler found in x\n\nSet …",
      "torch.compile needs a C++ compiler (install g++ or clang)"),
     ("something else\nand more", "torch.compile fails: something else"),
     ("", "torch.compile fails: RuntimeError")],
)  # fmt: skip
def test_why_nothing_is_compiled_is_one_line(monkeypatch, told, text) -> None:
    def fails(images: Tensor) -> Tensor:
        raise RuntimeError(told)

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    with pytest.raises(NetError) as caught:
        engines.compiled(Seen(), CPU, channels_last=True)(IMAGES)
    assert str(caught.value) == text


def test_too_little_memory_is_no_failure_of_the_compiler(monkeypatch) -> None:
    def fails(images: Tensor) -> Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    with pytest.raises(torch.OutOfMemoryError):
        engines.compiled(Seen(), CPU, channels_last=True)(IMAGES)


@pytest.mark.slow  # half a minute: it compiles
def test_torch_compile_gives_the_same_numbers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    with engines.kernels():
        run = engines.compiled(net, CPU, channels_last=True)(IMAGES)
        folder = Path(os.environ[engines.CACHE])
        assert any(folder.iterdir())
        assert torch.allclose(run(), engines.eager(net, CPU, channels_last=True)(IMAGES)())
    assert not folder.exists()


def test_compiled_kernels_go_and_all_is_as_before(monkeypatch) -> None:
    monkeypatch.setenv(engines.CACHE, "mine")
    log = logging.getLogger(engines.CHATTY)
    level = log.level
    with engines.kernels():
        folder = Path(os.environ[engines.CACHE])
        assert folder.parent == Path(tempfile.gettempdir())
        (folder / "kernel.so").write_bytes(b"")
        assert not log.isEnabledFor(logging.WARNING)
    assert not folder.exists()
    assert (os.environ[engines.CACHE], log.level) == ("mine", level)
    monkeypatch.delenv(engines.CACHE)
    with pytest.raises(KeyboardInterrupt), engines.kernels():
        raise KeyboardInterrupt
    assert engines.CACHE not in os.environ


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


def test_onnxruntime_is_not_everywhere(tmp_path) -> None:
    with pytest.raises(UsageError, match="onnxruntime runs on cpu or gpu, got mps"):
        engines.onnxruntime(relu(tmp_path), device(1, accelerator="mps"))
    with pytest.raises(UsageError, match="this onnxruntime has no GPU"):
        engines.onnxruntime(relu(tmp_path), device(1, accelerator="gpu"))


def test_a_file_that_is_none_is_refused(tmp_path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        engines.onnxruntime(tmp_path / "net.onnx", CPU)


def test_a_program_of_torch_is_run_as_it_is(tmp_path) -> None:
    file = tmp_path / "net.pt2"
    made = torch.export.export(nn.Sequential(nn.ReLU()).eval(), (IMAGES,))
    torch.export.save(made, str(file))
    assert torch.equal(engines.program(file, "torch_export", CPU)(IMAGES)(), IMAGES.relu())


def test_what_stays_on_a_gpu_is_copied_once_to_be_compared() -> None:
    told: list[str] = []

    def say(word: str) -> Tensor:
        told.append(word)
        return IMAGES

    run = engines._Copied(lambda: say("run"), lambda: say("copied"))
    for _ in range(3):
        run()
    assert told == ["copied", "run", "run"]
