"""What runs a net: torch as it is, torch compiled, onnxruntime, or the program of a file."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnctl.devices import Device
from cnnctl.errors import NetError, UsageError
from cnnctl.latency.machine import synchronise
from cnnctl.scoring import exported
from cnnctl.scoring.scorer import TYPES

Pass = Callable[[], Tensor]  # one forward pass, over when it gives the output
Engine = Callable[[Tensor], Pass]  # of the images that it is to be made on, on the CPU

CACHE = "TORCHINDUCTOR_CACHE_DIR"
CHATTY = "torch.utils.cpp_extension"  # warns of a CUDA toolkit without a GPU
NO_COMPILER = "InvalidCxxCompiler"


def eager(net: nn.Module, device: Device, *, channels_last: bool) -> Engine:
    """`net` as evaluate runs it: in evaluation mode, on the device, in its precision."""
    place = placed(net, device, channels_last=channels_last)
    return lambda images: _forward(net, _laid(images, place, channels_last), device)


def compiled(net: nn.Module, device: Device, *, channels_last: bool) -> Engine:
    """The same by torch.compile, anew for every batch size; its first pass compiles.

    The first pass raises NetError where that fails. Use it inside `kernels`.
    """
    place = placed(net, device, channels_last=channels_last)

    def engine(images: Tensor) -> Pass:
        torch._dynamo.reset()  # noqa: SLF001 - it would give up after a few batch sizes
        made: Any = torch.compile(net, dynamic=False)
        run = _forward(made, _laid(images, place, channels_last), device)

        def checked() -> Tensor:
            try:
                return run()
            except torch.OutOfMemoryError:
                raise
            except Exception as wrong:  # of torch.compile, which has a tree of its own
                raise _uncompiled(wrong) from wrong

        checked()
        return run

    return engine


def onnxruntime(file: Path | bytes, device: Device) -> Engine:
    """An ONNX file, or what would stand in one.

    Raises CheckpointError if it cannot be read, UsageError where onnxruntime does not run here.
    """
    if device.accelerator not in ("cpu", "gpu"):
        raise UsageError(f"onnxruntime runs on cpu or gpu, got {device.accelerator}", "device=cpu")
    session = exported.session(file, device)
    name, target = session.get_inputs()[0].name, session.get_outputs()[0].name

    def on_cpu(images: Tensor) -> Pass:
        given = {name: images.contiguous().numpy()}
        return lambda: torch.from_numpy(session.run([target], given)[0])

    def on_gpu(images: Tensor) -> Pass:
        binding, there = session.io_binding(), images.contiguous().to(device.first)
        kind = images.contiguous().numpy().dtype
        number = device.first.index
        binding.bind_input(name, "cuda", number, kind, tuple(there.shape), there.data_ptr())
        binding.bind_output(target, "cuda", number)

        def run() -> Tensor:
            session.run_with_iobinding(binding)
            synchronise(there.device)
            return there

        def first() -> Tensor:
            run()
            return torch.from_numpy(binding.copy_outputs_to_cpu()[0])

        return _Copied(run, first)

    return on_cpu if device.accelerator == "cpu" else on_gpu


class _Copied:
    """A pass whose output stays on the GPU, but for the first one, which is compared."""

    def __init__(self, run: Pass, first: Pass) -> None:
        self.run = run
        self.first: Pass | None = first

    def __call__(self) -> Tensor:
        """The output, once."""
        if self.first is None:
            return self.run()
        first, self.first = self.first, None
        return first()


def program(file: Path, form: str, device: Device) -> Engine:
    """A file of torch_export or torchscript."""
    run = exported.OPENERS[form](file, device)

    def engine(images: Tensor) -> Pass:
        there = images.to(device.first)

        def once() -> Tensor:
            output = run(there)
            synchronise(device.first)
            return output

        return once

    return engine


def placed(net: nn.Module, device: Device, *, channels_last: bool) -> torch.device:
    """Where the net is now, ready to be asked."""
    word, _, kind = device.precision.partition("-")
    net.eval().to(device.first, torch.float32 if kind == "mixed" else TYPES.get(word))
    if channels_last and device.accelerator != "cpu":  # as it is trained
        net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's annotation lacks it
    return device.first


@contextlib.contextmanager
def kernels() -> Iterator[None]:
    """While open, torch.compile finds no kernels of before, and what it writes goes afterwards."""
    before, said = os.environ.get(CACHE), logging.getLogger(CHATTY)
    level = said.level
    said.setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="cnnctl_", ignore_cleanup_errors=True) as folder:
        os.environ[CACHE] = folder
        try:
            yield
        finally:
            said.setLevel(level)
            os.environ.pop(CACHE)
            if before is not None:
                os.environ[CACHE] = before


def _uncompiled(wrong: Exception) -> NetError:
    """Why there is no compiled net, in one line."""
    reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
    if NO_COMPILER in reason:
        return NetError("torch.compile needs a C++ compiler", "install g++ or clang")
    return NetError(f"torch.compile fails: {reason}")


def _laid(images: Tensor, place: torch.device, channels_last: bool) -> Tensor:  # noqa: FBT001 - of two functions here
    form = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(place, memory_format=form)


def _forward(net: Callable[[Tensor], Tensor], images: Tensor, device: Device) -> Pass:
    word, _, kind = device.precision.partition("-")
    wanted = TYPES.get(word, torch.float32)
    given = images if kind == "mixed" else images.to(wanted)

    @torch.inference_mode()
    def run() -> Tensor:
        around = contextlib.nullcontext()
        if kind == "mixed":
            around = torch.autocast(device.first.type, wanted)
        with around:
            output = net(given)
        synchronise(device.first)
        return output

    return run
