"""MobileNetV2 (Sandler et al. 2018, tables 1 and 2).

Inverted residuals with linear bottlenecks: the shortcut joins the narrow ends of a block, the
depthwise convolution works on its wide middle.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import nn

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Layers, Norm, Residual, head, scaled, unit
from cnnctl.nets.net import Net


class Stage(NamedTuple):
    """A row of table 2: t, c, n, s."""

    expand: int
    channels: int
    blocks: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """The numbers of table 2, and the width multiplier of section 4."""

    stem: int = key("channels of conv1", min=1)
    stages: tuple[Stage, ...] = key("rows of (expand, channels, blocks, first stride)", min=1)
    head: int = key("channels of conv2, the last convolution", min=1)
    width: float = key("factor on the channels, then multiples of 8; not below 1 on conv2", above=0)
    norm: Norm = key("after every convolution")
    activation: Activation = key("after every norm but the last of a block")
    dropout: float = key("share dropped before the dense layer", min=0, below=1)

    def problems(self) -> Iterator[Problem]:
        """An empty table."""
        if not self.stages:
            yield Problem("model.stages must have at least one row, got []", key="model.stages")


class MobileNetV2(Net):
    """(B, in_channels, H, W) -> logits (B, num_classes); any size works.

    On small images conv1 and the first stage with a stride keep the size.
    """

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        active = partial(unit, norm=spec.norm, activation=spec.activation)
        c_in, keep = scaled(spec.stem, spec.width), spec.small_input
        layers = active("conv1", shape[0], c_in, 3, stride=1 if keep else 2)
        for stage, row in enumerate(spec.stages, start=1):
            c_out, stride = scaled(row.channels, spec.width), 1 if keep else row.stride
            keep = keep and row.stride == 1
            for number in range(1, row.blocks + 1):
                block = _block(c_in, c_out, row.expand, stride, spec)
                layers[f"bottleneck{stage}_{number}"] = block
                c_in, stride = c_out, 1
        width = scaled(spec.head, max(1, spec.width))
        layers |= active("conv2", c_in, width, 1)
        super().__init__(layers | head(width, num_classes, spec.dropout), spec.init)


def _block(c_in: int, c_out: int, expand: int, stride: int, spec: Spec) -> nn.Module:
    """Table 1 and figure 4d: expand, filter, project; a shortcut where the shape stays."""
    active = partial(unit, norm=spec.norm, activation=spec.activation)
    wide = c_in * expand
    branch: Layers = OrderedDict()
    if expand > 1:
        branch |= active("expand", c_in, wide, 1)
    branch |= active("depthwise", wide, wide, 3, stride=stride, groups=wide)
    branch |= unit("project", wide, c_out, 1, norm=spec.norm, activation="none")
    shortcut = stride == 1 and c_in == c_out
    return Residual(nn.Sequential(branch)) if shortcut else nn.Sequential(branch)
