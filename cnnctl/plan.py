"""The plan: all that is decided before the first step, printed first and saved as plan.json."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from cnnctl.config import schema
from cnnctl.data.source import Source
from cnnctl.errors import ConfigError, Problem
from cnnctl.nets.costs import cost
from cnnctl.nets.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a run runs on: Lightning's words, with `auto` settled."""

    accelerator: str
    devices: int | tuple[int, ...]
    num_nodes: int
    precision: str
    strategy: str
    name: str

    @property
    def world(self) -> int:
        """Processes that train together."""
        local = self.devices if isinstance(self.devices, int) else len(self.devices)
        return local * self.num_nodes


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every number that the configuration, the net, the data and the machine decide.

    `params` and `macs` (multiply-adds) are those of one image; `steps` are optimizer steps;
    `lr` is the learning rate after scaling with the global batch.
    """

    model: str
    params: int
    macs: int
    shape: tuple[int, int, int]
    data: str
    classes: tuple[str, ...]
    sizes: dict[str, int]
    skipped: dict[str, str]
    augment: str
    epochs: int
    steps_per_epoch: int
    steps: int
    batch_size: int
    global_batch: int
    optimizer: str
    lr: float
    schedule: str
    warmup_steps: int
    device: Device
    seed: int

    def document(self) -> dict[str, Any]:
        """The plan as plan.json holds it."""
        return asdict(self)


def make(train: schema.Train, spec: Spec, source: Source) -> Plan:
    """Decide everything. Raises ConfigError or NetError if it cannot run here."""
    device = settle(train.hardware)
    shape = (train.data.channels, train.data.size, train.data.size)
    net = cost(spec, num_classes=len(source.classes), shape=shape)
    accumulate = train.trainer.accumulate
    batches = math.ceil(source.sizes["train"] / device.world / train.data.batch_size)
    per_epoch = math.ceil(batches / accumulate)
    steps = min(train.trainer.max_epochs * per_epoch, train.trainer.max_steps or 2**63)
    global_batch = train.data.batch_size * device.world * accumulate
    return Plan(
        model=spec.name, params=net.params, macs=net.macs, shape=shape,
        data=train.data.name, classes=source.classes, sizes=source.sizes, skipped=source.skipped,
        augment=train.augment.name,
        epochs=math.ceil(steps / per_epoch), steps_per_epoch=per_epoch, steps=steps,
        batch_size=train.data.batch_size, global_batch=global_batch,
        optimizer=train.optimizer.name, lr=scaled(train.optimizer, global_batch),
        schedule=train.schedule.name,
        warmup_steps=_warmup(train.schedule, per_epoch, steps),
        device=device, seed=train.seed,
    )  # fmt: skip


def scaled(optimizer: schema.Optimizer, global_batch: int) -> float:
    """The learning rate for this global batch.

    linear: lr x batch / reference (Goyal et al. 2017, section 2.1); sqrt: its square root
    (Krizhevsky 2014, section 5).
    """
    ratio = global_batch / optimizer.reference_batch
    return optimizer.lr * {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[optimizer.scaling]


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
    name = torch.cuda.get_device_name(0) if accelerator == "gpu" else f"{torch.get_num_threads()} threads"
    return Device(
        accelerator=accelerator, devices=devices, num_nodes=hardware.num_nodes,
        precision=hardware.precision, strategy=hardware.strategy, name=name,
    )  # fmt: skip


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
        problems.append(Problem(text, f"hardware.devices={there} or fewer", "hardware.devices"))
    lacking = _lacks(accelerator, hardware.precision)
    if lacking:
        text = f"hardware.precision={hardware.precision} does not work on this {accelerator}"
        problems.append(Problem(text, f"use {lacking}", "hardware.precision"))
    return problems


def _lacks(accelerator: str, precision: str) -> str | None:
    """What to use instead of a precision that the device does not have; None if it has it."""
    if accelerator == "cpu" and precision in ("16-mixed", "16-true"):
        return "32-true or bf16-mixed"
    if accelerator == "mps" and precision == "64-true":
        return "32-true"
    if accelerator == "gpu" and precision.startswith("bf16") and not torch.cuda.is_bf16_supported():
        return precision.replace("bf16", "16")
    return None


def _warmup(schedule: schema.Schedule, per_epoch: int, steps: int) -> int:
    warmup = schedule.warmup.steps(per_epoch=per_epoch, total=steps)
    if warmup > steps:
        text = f"schedule.warmup={schedule.warmup} is longer than the {steps} steps of the run"
        raise ConfigError([Problem(text, key="schedule.warmup")])
    return warmup
