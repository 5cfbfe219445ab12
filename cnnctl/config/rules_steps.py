"""Rules about a step that cannot be made: out of memory, or without a number for a loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config.rules_hardware import world
from cnnctl.config.schema import Hardware
from cnnctl.errors import Problem


def steps(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Every rule that on_nan and on_oom break, with the hardware."""
    hardware: Hardware | None = parts.get("hardware")
    if hardware is None:
        return
    if parts.get("on_nan") == "rollback" and hardware.precision == "16-mixed":
        text = "on_nan=rollback does not go with hardware.precision=16-mixed: "
        text += "its loss scaler leaves such steps out by itself"
        yield Problem(text, "on_nan=stop, or hardware.precision=bf16-mixed", "on_nan")
    yield from alone(parts.get("on_oom"), world(hardware) or hardware.num_nodes)


def alone(on_oom: str | None, devices: int) -> Iterator[Problem]:
    """A step that one of several devices makes again, while the others wait for its gradient."""
    if on_oom == "split" and devices > 1:
        text = f"on_oom=split works on one device, got {devices}: "
        text += "the others would wait for the one that makes its step again"
        yield Problem(text, "a smaller data.batch_size with trainer.accumulate", "on_oom")
