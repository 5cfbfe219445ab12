"""MobileNet (Howard et al. 2017, table 1).

Every convolution but the first is separable: one 3x3 filter per channel, then 1x1 filters
across the channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Layers, Norm, head, scaled, unit
from cnnctl.nets.net import Net


class Stage(NamedTuple):
    """Layers of one width; the first of them has the stride."""

    channels: int
    layers: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """The numbers of table 1, and the width multiplier of section 3.3."""

    stem: int = key("channels of conv1", min=1)
    stages: tuple[Stage, ...] = key("rows of (channels, layers, stride of the first)", min=1)
    width: float = key("factor on all channels (alpha), then multiples of 8", above=0)
    separable: bool = key("depthwise and pointwise convolutions, or full ones as in table 4")
    norm: Norm = key("after every convolution")
    activation: Activation = key("after every norm")
    dropout: float = key("share dropped before the dense layer", min=0, below=1)

    def problems(self) -> Iterator[Problem]:
        """An empty table."""
        if not self.stages:
            yield Problem("model.stages must have at least one row, got []", key="model.stages")


class MobileNetV1(Net):
    """(B, in_channels, H, W) -> logits (B, num_classes); any size works.

    On small images conv1 and the first stage with a stride keep the size.
    """

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        c_in, number, keep = scaled(spec.stem, spec.width), 1, spec.small_input
        layers = unit(
            "conv1", shape[0], c_in, 3,
            stride=1 if keep else 2, norm=spec.norm, activation=spec.activation,
        )  # fmt: skip
        for row in spec.stages:
            c_out, stride = scaled(row.channels, spec.width), 1 if keep else row.stride
            keep = keep and row.stride == 1
            for _ in range(row.layers):
                number += 1
                layers |= _layer(f"conv{number}", c_in, c_out, stride, spec)
                c_in, stride = c_out, 1
        super().__init__(layers | head(c_in, num_classes, spec.dropout), spec.init)


def _layer(name: str, c_in: int, c_out: int, stride: int, spec: Spec) -> Layers:
    """The right side of figure 3, or the left one."""
    norm, activation = spec.norm, spec.activation
    if not spec.separable:
        return unit(name, c_in, c_out, 3, stride=stride, norm=norm, activation=activation)
    depthwise = unit(
        f"{name}_dw", c_in, c_in, 3, stride=stride, groups=c_in, norm=norm, activation=activation
    )
    return depthwise | unit(f"{name}_pw", c_in, c_out, 1, norm=norm, activation=activation)
