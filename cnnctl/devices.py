"""What this machine has to run on: `auto` settled, and what does not fit refused."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from cnnctl.config import rules_hardware, schema
from cnnctl.config.schema import Precision
from cnnctl.errors import ConfigError, Problem


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a run runs on: Lightning's words, with `auto` settled."""

    accelerator: str
    devices: int | tuple[int, ...]
    num_nodes: int
    precision: Precision
    strategy: str
    sync_batchnorm: bool
    deterministic: bool
    matmul: str
    name: str

    @property
    def local(self) -> int:
        """Processes on each machine, one per device."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    @property
    def first(self) -> torch.device:
        """Where a net that needs one device alone runs."""
        number = 0 if isinstance(self.devices, int) else self.devices[0]
        return torch.device({"gpu": f"cuda:{number}"}.get(self.accelerator, self.accelerator))

    @property
    def world(self) -> int:
        """Processes that train together."""
        return self.local * self.num_nodes


def settle(hardware: schema.Hardware) -> Device:
    """The device that `hardware` means on this machine. Raises ConfigError if it has none."""
    gpus = torch.cuda.device_count()
    mps = torch.backends.mps.is_available()
    accelerator = hardware.accelerator
    if accelerator == "auto":
        accelerator = "gpu" if gpus else "mps" if mps else "cpu"
    there = {"cpu": 1, "gpu": gpus, "mps": int(mps)}[accelerator]
    devices = there if hardware.devices == "auto" else hardware.devices
    assert not isinstance(devices, str)
    problems = _refused(hardware, accelerator, devices, there)
    if problems:
        raise ConfigError(problems)
    count = torch.get_num_threads()
    threads = f"{count} thread{'s' if count > 1 else ''}"
    return Device(
        accelerator=accelerator, devices=devices, num_nodes=hardware.num_nodes,
        precision=hardware.precision, strategy=hardware.strategy,
        sync_batchnorm=hardware.sync_batchnorm, deterministic=hardware.deterministic,
        matmul=hardware.matmul,
        name=torch.cuda.get_device_name(0) if accelerator == "gpu" else threads,
    )  # fmt: skip


def switch(device: Device) -> None:
    """Set what torch keeps for the whole process: precision of products, choice of kernels.

    Nothing is put back: each run sets all of them, so none sees those of the run before. On a
    CPU torch's kernels give the same bits each time, and the switch would only have it fill all
    new memory.
    """
    torch.set_float32_matmul_precision(device.matmul)
    gpu = device.accelerator == "gpu"
    steady = gpu and device.deterministic
    if steady:  # cuBLAS reads it when it starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # use_deterministic_algorithms does the same, but imports torch._inductor, for a second
    torch.set_deterministic_debug_mode("warn" if steady else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue] - nothing here reads it
    torch.backends.cudnn.benchmark = gpu and not steady


def _refused(
    hardware: schema.Hardware, accelerator: str, devices: int | tuple[int, ...], there: int
) -> list[Problem]:
    if there == 0:
        text = f"hardware.accelerator={accelerator}, but torch sees no such device here"
        return [Problem(text, "use hardware=cpu", "hardware.accelerator")]
    problems = []
    highest = devices if isinstance(devices, int) else max(devices, default=-1) + 1
    if accelerator != "cpu" and not 1 <= highest <= there:
        given = devices if isinstance(devices, int) else list(devices)
        text = f"hardware.devices={given} does not fit this machine: it has {there} {accelerator}"
        problems.append(Problem(text, f"hardware.devices=1 to {there}", "hardware.devices"))
    instead = _instead(accelerator, hardware.precision)
    if instead:
        text = f"hardware.precision={hardware.precision} does not work on this {accelerator}"
        problems.append(Problem(text, f"use {instead}", "hardware.precision"))
    local = devices if isinstance(devices, int) else len(devices)
    world = local * hardware.num_nodes
    return [*problems, *rules_hardware.unfit(hardware, accelerator, world)]


def _instead(accelerator: str, precision: str) -> str | None:
    """What to use instead of a precision that the device lacks; None if it has it."""
    if accelerator == "cpu" and precision in ("16-mixed", "16-true"):
        return "32-true or bf16-mixed"
    if accelerator == "mps" and precision == "64-true":
        return "32-true"
    if accelerator == "gpu" and precision.startswith("bf16") and not torch.cuda.is_bf16_supported():
        return precision.replace("bf16", "16")
    return None
