"""Nets by name, as conf/model has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cnnctl import nets
from cnnctl.config import catalog, paths
from cnnctl.nets import meta
from cnnctl.nets.net import Net
from cnnctl.nets.spec import Spec

FILES = {file.stem: file for file in sorted((paths.conf_dir() / "model").glob("*.yaml"))}


def numbers(name: str) -> dict[str, Any]:
    """The keys of a net's file."""
    return catalog.facts(FILES[name], FILES)


def spec(name: str, **changes: Any) -> Spec:
    """The Spec of a net, with some numbers changed."""
    found, problems = nets.read_spec(numbers(name) | changes)
    assert problems == []
    assert found is not None
    return found


def refused(name: str, **changes: Any) -> list[str]:
    """What is said about a net whose numbers were changed for the worse."""
    found, problems = nets.read_spec(numbers(name) | changes)
    assert found is None
    return [str(problem) for problem in problems]


def build(
    name: str, shape: tuple[int, int, int] | None = None, classes: int | None = None, **changes: Any
) -> Net:
    """A net with real weights; by default at the paper's input with the paper's classes."""
    made = spec(name, **changes)
    return nets.build(made, num_classes=classes or made.classes, shape=shape or made.input)


def on_meta(
    name: str, shape: tuple[int, int, int] | None = None, classes: int | None = None, **changes: Any
) -> Net:
    """The same on the meta device: nothing is allocated."""
    with meta.device():
        return build(name, shape, classes, **changes)


def count(net: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


def outputs(net: nn.Sequential, shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    """The shape that each layer of the net gives for one image, the batch left out."""
    value, shapes = torch.zeros(2, *shape, device=next(net.parameters()).device), {}
    with torch.no_grad():
        for name, layer in net.named_children():
            value = layer(value)
            shapes[name] = tuple(value.shape[1:])
    return shapes
