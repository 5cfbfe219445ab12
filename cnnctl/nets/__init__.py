"""The zoo: one YAML file per net, one class per family.

A new net is a new file in conf/model; a new family is a file beside this one and a line
in FAMILIES.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from cnnctl.config.near import did_you_mean
from cnnctl.config.read import read, show
from cnnctl.errors import Problem
from cnnctl.nets.lenet import LeNet
from cnnctl.nets.mlp import Mlp
from cnnctl.nets.spec import Spec

FAMILIES: dict[str, type[LeNet | Mlp]] = {"lenet": LeNet, "mlp": Mlp}


def read_spec(model: dict[str, Any]) -> tuple[Spec | None, list[Problem]]:
    """The section `model` of a configuration as its family's Spec, or every problem in it."""
    given = model.get("family")
    family = FAMILIES.get(given) if isinstance(given, str) else None
    if family is None:
        text = f"model.family must be one of {', '.join(FAMILIES)}, got {show(given)}"
        return None, [Problem(text, did_you_mean(str(given), FAMILIES), "model.family")]
    return read(family.Spec, model, "model")


def build(spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The net of `spec` for images of `shape` (C, H, W), on the current default device.

    Raises NetError if the images are too small for it.
    """
    return FAMILIES[spec.family](spec, num_classes=num_classes, shape=shape)  # pyright: ignore[reportArgumentType] - read_spec made the Spec that belongs to the family
