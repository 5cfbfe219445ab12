"""Exported files as scorers: ONNX by onnxruntime, torch's programs by torch."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass
from torch.nn.functional import cross_entropy

from cnnctl import weights
from cnnctl.config.masks import IGNORE
from cnnctl.config.schema import Train
from cnnctl.data.prepare import Prepare
from cnnctl.devices import Device
from cnnctl.errors import CheckpointError, UsageError
from cnnctl.manifest import PREPROCESS, SOFTMAX, Manifest
from cnnctl.mirror import mirrored
from cnnctl.scoring import vetted
from cnnctl.scoring.scorer import TINY

Run = Callable[[Tensor], Tensor]  # what the file computes, from what it takes
ONLY_DATA = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch.load then refuses all code, whoever calls it
BOUND = 'Device = prim::Constant[value="cpu"]'  # in the graph of a trace
FATAL = 4  # onnxruntime logs errors that it raises as well; what it warns of is its own affair
NO_GPU = "hardware=cpu, or pip install onnxruntime-gpu with the CUDA that it wants"


class Exported:
    """What `manifest` describes, computed by `run`."""

    def __init__(self, manifest: Manifest, run: Run, train: Train) -> None:
        self.manifest = manifest
        self.run = run
        self.prepare = Prepare(train, len(manifest.classes))
        self.classes = manifest.classes

    def __call__(self, images: Tensor, /) -> Tensor:
        """As `Scorer` says."""
        given = images if PREPROCESS in self.manifest.include else self._given(images)
        parts = [given] if self.manifest.dynamic_batch else list(given.split(1))
        found = torch.cat([self.run(part).float().cpu() for part in parts])
        if self.manifest.task == "reconstruct":
            return self._remade(found)
        wanted = (len(self.classes),)
        if self.manifest.margin is not None:
            height, width = images.shape[-2:]
            found, wanted = found[..., :height, :width], (*wanted, height, width)
        if found.shape[1:] != wanted:
            text = f"the file gives {weights.size(found[0])} numbers for an image, its manifest"
            raise CheckpointError(f"{text} names {len(self.classes)} classes", "export it anew")
        return found.clamp(min=TINY).log() if SOFTMAX in self.manifest.include else found

    def loss(self, logits: Tensor, labels: Tensor, /) -> Tensor | None:
        """Cross-entropy, if that is what the net was trained with.

        None, too, where a probability was too small for its number: its loss has no bound.
        """
        if self.manifest.own_loss:
            return None
        counts = torch.ones_like(labels, dtype=torch.bool)
        if self.manifest.margin is not None:  # masks: their first plane are the classes
            labels = labels[:, 0].long()
            counts = labels != IGNORE
        chosen = logits.gather(1, labels.where(counts, 0)[:, None])[:, 0]
        lost = bool(((chosen <= math.log(TINY)) & counts).any())
        if lost and SOFTMAX in self.manifest.include:
            return None
        loss = cross_entropy(logits, labels, ignore_index=IGNORE if counts.dim() > 1 else -1)
        return loss if counts.any() else torch.zeros(())

    def _remade(self, found: Tensor) -> Tensor:
        """What the net itself gives for images that it makes anew, (B, C, size, size)."""
        about = self.manifest
        wanted = torch.Size((about.channels, about.size, about.size))
        if found.shape[1:] != wanted:
            text = f"the file makes {weights.size(found[0])} of an image, its manifest says"
            raise CheckpointError(f"{text} {'x'.join(map(str, wanted))}", "export it anew")
        if PREPROCESS not in about.include:
            return found
        mean, std = (torch.tensor(one).view(-1, 1, 1) for one in (about.mean, about.std))
        return (found - mean) / std

    def _given(self, images: Tensor) -> Tensor:
        """As the net alone takes it: of masks, with mirrored borders."""
        about, plain = self.manifest, self.prepare.plain(images)
        if about.margin is None:
            return plain
        return mirrored(plain, about.margin, *(about.side(one) for one in images.shape[-2:]))


def load(file: Path, manifest: Manifest, train: Train, device: Device) -> Exported:
    """The scorer of a file. Raises CheckpointError if it cannot be read; runs no pickle."""
    if device.accelerator not in ("cpu", "gpu"):
        text = f"exported files run on cpu or gpu, got {device.accelerator}"
        raise UsageError(text, "hardware=cpu")
    return Exported(manifest, OPENERS[manifest.format](file, device), train)


def session(file: Path | bytes, device: Device, threads: int | None = None) -> Any:
    """An onnxruntime session. Raises CheckpointError, UsageError without a GPU's provider."""
    try:
        import onnxruntime
    except ImportError as wrong:
        text = "onnxruntime is not installed"
        raise CheckpointError(text, "pip install 'cnnctl[onnx]'") from wrong
    gpu = device.accelerator == "gpu"
    name = "CUDAExecutionProvider" if gpu else "CPUExecutionProvider"
    if name not in onnxruntime.get_available_providers():
        raise UsageError("this onnxruntime has no GPU", NO_GPU)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = FATAL
    onnxruntime.set_default_logger_severity(FATAL)  # of what loads the GPU's libraries
    try:
        made = onnxruntime.InferenceSession(
            file if isinstance(file, bytes) else str(file), options,
            providers=[(name, _of_gpu(device) if gpu else {})],
            enable_fallback=0,  # to the CPU, with lines on stdout
        )  # fmt: skip
    except Exception as wrong:  # the library has a dozen of its own
        told = "it" if isinstance(file, bytes) else file
        reason = str(wrong).splitlines()[0]
        raise CheckpointError(f"{told} cannot be read: {reason}", "export it anew") from wrong
    if made.get_providers()[0] != name:
        text = f"onnxruntime cannot use the GPU and would run on {made.get_providers()[0]}"
        raise UsageError(text, NO_GPU)
    return made


def _of_gpu(device: Device) -> dict[str, Any]:
    """Which one, and products in the number format that `hardware.matmul` says."""
    return {"device_id": device.first.index, "use_tf32": str(int(device.matmul != "highest"))}


def _onnx(file: Path, device: Device) -> Run:
    made = session(file, device)
    name = made.get_inputs()[0].name
    return lambda images: torch.from_numpy(made.run(None, {name: images.contiguous().numpy()})[0])


def _program(file: Path, device: Device) -> Run:
    with _data_only(file):
        program = torch.export.load(vetted.program(file))
        if device.first.type != "cpu":  # where tensors are made in the graph it names the CPU
            program = move_to_device_pass(program, device.first)
        made = program.module()
    return _on(made, device)


def _script(file: Path, device: Device) -> Run:
    with _data_only(file), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated")  # asked for by name
        made = torch.jit.load(vetted.script(file), map_location="cpu")
    if device.first.type != "cpu" and BOUND in str(made.inlined_graph):
        text = f"{file} computes on the CPU alone: it was traced so"
        raise UsageError(text, "hardware=cpu, or format=onnx")
    return _on(made, device)


def _on(module: torch.nn.Module, device: Device) -> Run:
    module.to(device.first)

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        return module(images.to(device.first))

    return run


@contextlib.contextmanager
def _data_only(file: Path) -> Iterator[None]:
    """Torch falls back to running pickles where a program's tensors do not read as data."""
    before = os.environ.get(ONLY_DATA)
    os.environ[ONLY_DATA] = "1"
    try:
        yield
    except Exception as wrong:  # what is damaged, or is code, can raise anything
        reason = str(wrong).splitlines()[0] if str(wrong) else type(wrong).__name__
        raise CheckpointError(f"{file} cannot be read: {reason}", "export it anew") from wrong
    finally:
        os.environ.pop(ONLY_DATA)
        if before is not None:
            os.environ[ONLY_DATA] = before


OPENERS: dict[str, Callable[[Path, Device], Run]] = {
    "onnx": _onnx, "torch_export": _program, "torchscript": _script
}  # fmt: skip
