"""Rules about what a run is made on, and what does not go with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config import schema
from cnnctl.config.kinds import show
from cnnctl.errors import Problem

# What a run may not do whose weights are shared out over the devices (FSDP): the only value that
# is allowed, and why.
SHARDED: dict[str, tuple[Any, str]] = {
    "trainer.clip": (None, "a device has the norm of its share of the gradient alone"),
    "trainer.ema": (None, "a device has its share of the weights alone"),
    "trainer.swa": (None, "a device has its share of the weights alone"),
    "trainer.compile": (False, "the exchange of weights is not compiled with the net"),
    "transfer.name": ("none", "weights that learn and others lie in one tensor"),
    "optimizer.layer_decay": (None, "weights of several layers lie in one tensor"),
    "on_nan": ("stop", "a device sees its share of the gradient alone"),
    "on_oom": ("stop", "all devices have to make a step in the same parts"),
}


def hardware(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Every rule that the section `hardware` breaks, by itself or with what is to be done on it."""
    chosen: schema.Hardware | None = parts.get("hardware")
    if chosen is None:
        return
    if chosen.accelerator == "cpu":
        yield from _cpu(chosen)
    yield from unfit(chosen, chosen.accelerator, world(chosen))
    if chosen.strategy == "fsdp":
        yield from _sharded(parts)


def unfit(chosen: schema.Hardware, accelerator: str, world: int | None) -> Iterator[Problem]:
    """What does not go with an accelerator (or still `auto`) and a number of devices, if known."""
    known = accelerator not in ("gpu", "auto")
    if chosen.sync_batchnorm and (known or world == 1):
        text = "hardware.sync_batchnorm=true has no effect on one device"
        if known:
            text = (
                f"hardware.sync_batchnorm=true needs GPUs, got hardware.accelerator={accelerator}"
            )
        yield Problem(text, "hardware.sync_batchnorm=false", "hardware.sync_batchnorm")
    if chosen.matmul != "highest" and known:
        # torch would obey on a CPU with bfloat16 units: other bits than on the next machine
        text = (
            f"hardware.matmul={chosen.matmul} is for GPUs, got hardware.accelerator={accelerator}"
        )
        hint = "hardware.matmul=highest; hardware.precision=bf16-mixed is for CPUs, too"
        yield Problem(text, hint, "hardware.matmul")
    if chosen.strategy == "fsdp" and (accelerator != "gpu" or world == 1):
        got = "one device" if accelerator == "gpu" else f"hardware.accelerator={accelerator}"
        text = f"hardware.strategy=fsdp shares the weights out over GPUs, got {got}"
        yield Problem(text, "hardware=multi_gpu, or hardware.strategy=ddp", "hardware.strategy")


def world(chosen: schema.Hardware) -> int | None:
    """Processes; None if the machine decides."""
    if isinstance(chosen.devices, str):
        return None
    local = chosen.devices if isinstance(chosen.devices, int) else len(chosen.devices)
    return local * chosen.num_nodes


def _cpu(chosen: schema.Hardware) -> Iterator[Problem]:
    if chosen.precision in ("16-mixed", "16-true"):
        text = f"hardware.precision={chosen.precision} needs a GPU, got hardware.accelerator=cpu"
        yield Problem(text, "on a CPU use 32-true or bf16-mixed", "hardware.precision")
    cores = os.cpu_count() or 1
    if isinstance(chosen.devices, tuple):
        text = f"hardware.devices={list(chosen.devices)} lists devices, but a CPU has no numbers"
        yield Problem(text, "give how many: hardware.devices=1", "hardware.devices")
    elif isinstance(chosen.devices, int) and not 1 <= chosen.devices <= cores:
        text = f"hardware.devices={chosen.devices} does not fit this machine: it has {cores} cores"
        yield Problem(text, f"hardware.devices=1 to {cores}", "hardware.devices")


def _sharded(parts: Mapping[str, Any]) -> Iterator[Problem]:
    if parts["hardware"].precision == "64-true":
        text = "hardware.precision=64-true does not go with hardware.strategy=fsdp"
        yield Problem(text, "32-true, or hardware.strategy=ddp", "hardware.precision")
    for key, (allowed, why) in SHARDED.items():
        section, _, name = key.rpartition(".")
        values = vars(parts[section]) if section in parts else {} if section else parts
        given = values.get(name, allowed)  # what cannot be read is told elsewhere
        if given != allowed:
            text = f"{key}={_typed(given)} does not go with hardware.strategy=fsdp: {why}"
            yield Problem(text, f"{key}={_typed(allowed)}, or hardware.strategy=ddp", key)


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else show(value)
