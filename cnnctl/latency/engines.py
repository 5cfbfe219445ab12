"""What runs a net: torch as it is, torch compiled, onnxruntime, or the program of a file."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnctl.devices import Device
from cnnctl.errors import NetError, UsageError
from cnnctl.latency.machine import synchronise
from cnnctl.scoring import exported
from cnnctl.scoring.scorer import Placed

Pass = Callable[[], Tensor]  # one forward pass, over when it gives the output
Engine = Callable[[Tensor], Pass]  # of the images that it is to be made on, on the CPU

CACHE = "TORCHINDUCTOR_CACHE_DIR"
CHATTY = "torch.utils.cpp_extension"  # warns of a CUDA toolkit without a GPU
NO_COMPILER = "InvalidCxxCompiler"
FATAL = 4  # onnxruntime's severity above that of errors, which are raised as well
FULL = "Failed to allocate memory"  # onnxruntime's words
# what its message has in front of the reason: code, operator, place in its source and condition
FRONT = re.compile(
    r"^(?:\[ONNXRuntimeError\] : \d+ : \w+ : )?(?:.*Status Message: )?(?:/.* was false\. )?"
)


def eager(net: nn.Module, device: Device, *, channels_last: bool) -> Engine:
    """`net` as evaluate runs it: in evaluation mode, on the device, in its precision."""
    placed = Placed(net, device, channels_last=channels_last)
    return lambda images: _forward(placed, _laid(images, placed, channels_last))


def compiled(net: nn.Module, device: Device, *, channels_last: bool) -> Engine:
    """The same by torch.compile, anew for every batch size; its first pass compiles.

    The first pass raises NetError where that fails. Use it inside `kernels`.
    """
    placed = Placed(net, device, channels_last=channels_last)

    def engine(images: Tensor) -> Pass:
        torch._dynamo.reset()  # noqa: SLF001 - it would give up after a few batch sizes
        run = _forward(placed, _laid(images, placed, channels_last))
        try:
            placed.run = torch.compile(net, dynamic=False)
            run()
        except Exception as wrong:  # of torch.compile, which has a tree of its own
            if no_room(wrong):
                raise
            raise _uncompiled(wrong) from wrong
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

    options = silent()
    free = any(not isinstance(side, int) for side in session.get_inputs()[0].shape[1:])

    def on_cpu(images: Tensor) -> Pass:
        given = {name: images.contiguous().numpy()}
        return _told(
            lambda: torch.from_numpy(session.run([target], given, options)[0]), "onnxruntime", free
        )

    def on_gpu(images: Tensor) -> Pass:
        binding, there = session.io_binding(), images.contiguous().to(device.first)
        kind = images.contiguous().numpy().dtype
        number = device.first.index
        binding.bind_input(name, "cuda", number, kind, tuple(there.shape), there.data_ptr())
        binding.bind_output(target, "cuda", number)

        def run() -> Tensor:
            session.run_with_iobinding(binding, options)
            synchronise(there.device)
            return there

        def first() -> Tensor:
            run()
            return torch.from_numpy(binding.copy_outputs_to_cpu()[0])

        return _told(_Copied(run, first), "onnxruntime", free)

    return on_cpu if device.accelerator == "cpu" else on_gpu


def silent() -> Any:
    """Options of a run of onnxruntime that fails without a line of its own on stderr."""
    options: Any = import_module("onnxruntime").RunOptions()
    options.log_severity_level = FATAL
    return options


def no_room(wrong: Exception) -> bool:
    """Whether memory was too small, in the words of torch, of onnxruntime or of Python."""
    from cnnctl.tasks.gradient import is_oom  # imports Lightning, for a second

    return FULL in str(wrong) or is_oom(wrong)


def _told(run: Pass, what: str, free: bool = False) -> Pass:  # noqa: FBT001, FBT002 - of three functions here
    """A pass that fails with MemoryError, or with a NetError in one line.

    `free`: the images could have another size.
    """

    def told() -> Tensor:
        try:
            return run()
        except Exception as wrong:  # both libraries have trees of their own
            text = " ".join((str(wrong) or type(wrong).__name__).split())
            if no_room(wrong):
                raise MemoryError(text) from wrong
            reason = FRONT.sub("", text)
            hint = "another size: input=3x224x224" if free else None
            raise NetError(f"{what} does not take these images: {reason}", hint) from wrong

    return told


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

        return _told(once, str(file))

    return engine


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


def _laid(images: Tensor, placed: Placed, channels_last: bool) -> Tensor:  # noqa: FBT001 - of two functions here
    """On the device, in the layout and the number format in which the net takes them."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    return placed.given(images.to(placed.device, memory_format=form))


def _forward(placed: Placed, images: Tensor) -> Pass:
    def run() -> Tensor:
        output = placed(images)
        synchronise(placed.device)
        return output

    return run
