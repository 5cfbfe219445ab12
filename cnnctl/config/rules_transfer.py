"""Rules between the regime of transfer learning, the weights to start from and the devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config.kinds import show
from cnnctl.config.rules_hardware import world
from cnnctl.config.schema import Hardware, Transfer
from cnnctl.errors import Problem

IDLE: dict[str, Any] = {
    "freeze_until": None, "backbone_lr": 1, "freeze_norm": True, "unfreeze_every": None,
}  # fmt: skip
USED = {  # keys with which a regime can do anything; `auto` may settle on any of them
    "none": (),
    "auto": ("backbone_lr", "freeze_norm", "unfreeze_every"),
    "feature_extract": ("freeze_norm",),
    "finetune_top": tuple(IDLE),
    "finetune_all": ("backbone_lr", "unfreeze_every"),
}


def transfer(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Every rule that the section `transfer` breaks, by itself or with what it needs."""
    if parts.get("pretrained_layers") is not None and parts.get("pretrained", "") is None:
        text = "pretrained_layers has no effect without weights to start from"
        yield Problem(text, "pretrained=a file or a run", "pretrained_layers")
    chosen = parts.get("transfer")
    if chosen is None:
        return
    if chosen.name != "none" and parts.get("pretrained", "") is None:
        text = f"transfer={chosen.name} needs weights to start from"
        yield Problem(text, "pretrained=torchvision, a file or a run", "pretrained")
    yield from _idle(chosen)
    if chosen.unfreeze_every is not None and "hardware" in parts:
        hardware: Hardware = parts["hardware"]
        yield from alone(world(hardware) or hardware.num_nodes)


def alone(devices: int) -> Iterator[Problem]:
    """Gradual unfreezing on several devices.

    DistributedDataParallel exchanges the gradients of those parameters that learn when it is made.
    """
    if devices > 1:
        text = f"transfer.unfreeze_every works on one device, got {devices}"
        yield Problem(text, "set transfer.unfreeze_every=null", "transfer.unfreeze_every")


def _idle(chosen: Transfer) -> Iterator[Problem]:
    """Keys that were set and do nothing."""
    gradual = chosen.name == "finetune_all" and chosen.unfreeze_every is not None
    used = (*USED[chosen.name], *(["freeze_norm"] * gradual))
    for name, idle in IDLE.items():
        given = getattr(chosen, name)
        if name in used or given == idle:
            continue
        text = f"transfer.{name}={show(given)} has no effect with transfer={chosen.name}"
        instead = "transfer=finetune_top, or " if name == "freeze_until" else ""
        yield Problem(text, f"{instead}set transfer.{name}={show(idle)}", f"transfer.{name}")
