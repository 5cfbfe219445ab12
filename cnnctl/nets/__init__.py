"""The zoo: one YAML file per net, one class per family.

A new net is a new file in conf/model; a new family is a file beside this one and a line
in FAMILIES.
"""

from __future__ import annotations

from typing import Any

from cnnctl.config.kinds import show
from cnnctl.config.near import did_you_mean
from cnnctl.config.read import read
from cnnctl.errors import Problem
from cnnctl.nets.lenet import LeNet
from cnnctl.nets.mlp import Mlp
from cnnctl.nets.net import Net
from cnnctl.nets.sizes import walk
from cnnctl.nets.spec import Spec

FAMILIES: dict[str, type[Net]] = {
    "lenet": LeNet,
    "mlp": Mlp,
}


def read_spec(model: dict[str, Any]) -> tuple[Spec | None, list[Problem]]:
    """The section `model` of a configuration as its family's Spec, or every problem in it."""
    given = model.get("family")
    family = FAMILIES.get(given) if isinstance(given, str) else None
    if family is None:
        text = f"model.family must be one of {', '.join(FAMILIES)}, got {show(given)}"
        return None, [Problem(text, did_you_mean(str(given), FAMILIES), "model.family")]
    spec, problems = read(family.Spec, model, "model")
    if spec is not None:
        problems = list(spec.problems())
    return (None, problems) if problems else (spec, [])


def build(spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> Net:
    """The net of `spec` for images of `shape` (C, H, W), on the current default device.

    Raises NetError if the images are too small for it, ConfigError if `spec.strict` and a
    stride leaves a remainder.
    """
    net = FAMILIES[spec.family](spec, num_classes=num_classes, shape=shape)  # pyright: ignore[reportCallIssue] - every family takes these; Net itself takes their layers
    walk(net, shape, strict=spec.strict)
    return net
