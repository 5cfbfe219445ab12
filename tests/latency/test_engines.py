from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from stubs import device
from torch import Tensor, nn

from cnnctl.errors import NetError
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


def test_a_torch_that_compiles_nothing_says_so(monkeypatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise RuntimeError("Dynamo is not supported on this Python")

    monkeypatch.setattr(torch, "compile", none)
    with pytest.raises(NetError, match=r"torch\.compile fails: Dynamo is not supported"):
        engines.compiled(Seen(), CPU, channels_last=True)(IMAGES)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_is_no_failure_of_the_compiler(monkeypatch, error) -> None:
    def fails(images: Tensor) -> Tensor:
        raise error

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    with pytest.raises(type(error)):
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


def test_a_program_of_torch_is_run_as_it_is(tmp_path) -> None:
    file = tmp_path / "net.pt2"
    made = torch.export.export(nn.Sequential(nn.ReLU()).eval(), (IMAGES,))
    torch.export.save(made, str(file))
    engine = engines.program(file, "torch_export", CPU)
    assert torch.equal(engine(IMAGES)(), IMAGES.relu())
    with pytest.raises(NetError, match=r"net\.pt2 does not take these images: "):
        engine(IMAGES[:1])()
