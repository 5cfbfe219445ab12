"""EfficientNet (Tan, Le 2019, table 1): inverted bottlenecks with gates, scaled together.

Compound scaling (equation 3): depth 1.2^phi, width 1.1^phi, resolution 1.15^phi. Layers carry
the numbers of table 1's stages: stem, stage2_1 to stage8_1, head.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import dropout

from cnnctl.config.kinds import show
from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Gate, Layers, Norm, Residual, head, scaled, unit
from cnnctl.nets.net import Net

ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15  # depth, width and resolution at phi = 1 (section 5)


class Row(NamedTuple):
    """A row of table 1: MBConv<expand>, k<kernel>x<kernel>; its first layer has the stride."""

    expand: int
    kernel: int
    stride: int
    channels: int
    layers: int


class Block(NamedTuple):
    """One MBConv block, scaled."""

    name: str
    c_in: int
    c_out: int
    expand: int
    kernel: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Whether what comes in can be added to what goes out."""
        return self.stride == 1 and self.c_in == self.c_out


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """Table 1, and the scaling of section 3.3."""

    stem: int = key("channels of the first convolution", min=1)
    stages: tuple[Row, ...] = key("expand, kernel, stride, channels, layers of each stage", min=1)
    head: int = key("channels of the last convolution", min=1)
    width: float = key("factor on all channels", above=0)
    depth: float = key("factor on the layers of each stage", above=0)
    phi: float = key("compound coefficient: depth times 1.2^phi, width times 1.1^phi", min=0)
    squeeze: float = key("width of a block's gate, per channel that comes in; 0 is no gate", min=0)
    drop_path: float = key(
        "share of samples that skip a branch, growing with depth", min=0, below=1
    )
    dropout: float = key("share of the features that training sets to 0", min=0, below=1)
    norm: Norm = key("after every convolution")
    eps: float | None = key("added to the variance; null where norm is none", above=0)
    momentum: float | None = key(
        "share of a new batch in the running statistics; null where norm is not batch",
        above=0,
        max=1,
    )
    activation: Activation = key("after every convolution but a block's last one")

    def channels(self, unscaled: int) -> int:
        """`unscaled` times both factors, in multiples of 8."""
        return scaled(unscaled, self.width * BETA**self.phi)

    def blocks(self) -> list[Block]:
        """Every block in the order of the forward pass."""
        blocks: list[Block] = []
        c_in, depth = self.channels(self.stem), self.depth * ALPHA**self.phi
        for stage, row in enumerate(self.stages, 2):
            c_out = self.channels(row.channels)
            # 10 · 1.1 is a little more than 11 in binary
            layers = math.ceil(round(row.layers * depth, 9)) or 1
            for number in range(1, layers + 1):
                stride = row.stride if number == 1 else 1
                name = f"stage{stage}_{number}"
                blocks.append(Block(name, c_in, c_out, row.expand, row.kernel, stride))
                c_in = c_out
        return blocks

    def problems(self) -> Iterator[Problem]:
        """No stage, even kernels, switches without effect."""
        if not self.stages:
            yield Problem("model.stages must have at least one row, got []", key="model.stages")
            return
        for number, row in enumerate(self.stages):
            if row.kernel % 2 == 0:
                place = f"model.stages.{number}"
                yield Problem(f"{place}: the kernel must be odd, got {row.kernel}", key=place)
        if self.drop_path and not any(block.keeps_shape for block in self.blocks()[1:]):
            text = f"model.drop_path={show(self.drop_path)} has no effect: no block has a shortcut"
            yield Problem(text, "model.drop_path=0", "model.drop_path")
        for name, idle in {"eps": self.norm == "none", "momentum": self.norm != "batch"}.items():
            value = getattr(self, name)
            if idle != (value is None):
                wanted = "null" if idle else "a number"
                text = f"model.{name} must be {wanted} with norm {self.norm}, got {show(value)}"
                yield Problem(text, key=f"model.{name}")


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016, section 3): training drops the branch per sample.

    What survives is divided by its probability, so that the mean stays.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not self.training:
            return value
        return value * dropout(value.new_ones(len(value), 1, 1, 1), self.share)

    def extra_repr(self) -> str:
        """The share, in the printed net."""
        return f"share={self.share:g}"


class EfficientNet(Net):
    """(B, in_channels, 224, 224) -> logits (B, num_classes); other sizes work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        conv = partial(
            unit, norm=spec.norm, activation=spec.activation,
            eps=spec.eps or 0, momentum=spec.momentum or 0,
        )  # fmt: skip
        stride = 1 if spec.small_input else 2
        layers = conv("stem", shape[0], spec.channels(spec.stem), 3, stride=stride)
        blocks = spec.blocks()
        for number, block in enumerate(blocks):
            # the survival falls linearly with depth, from 1
            layers[block.name] = _mbconv(spec, block, conv, spec.drop_path * number / len(blocks))
        width = spec.channels(spec.head)
        layers |= conv("head", blocks[-1].c_out, width, 1)
        super().__init__(layers | head(width, num_classes, spec.dropout), spec.init)


def _mbconv(spec: Spec, block: Block, conv: Callable[..., Layers], drop: float) -> nn.Module:
    """1x1 that expands, depthwise, gate, 1x1 that projects; a shortcut where the shape stays."""
    width = block.c_in * block.expand
    layers: Layers = OrderedDict()
    if block.expand > 1:
        layers |= conv("expand", block.c_in, width, 1)
    layers |= conv("depthwise", width, width, block.kernel, stride=block.stride, groups=width)
    if spec.squeeze:
        layers["gate"] = Gate(width, max(1, int(block.c_in * spec.squeeze)), spec.activation)
    layers |= conv("project", width, block.c_out, 1, activation="none")
    if not block.keeps_shape:
        return nn.Sequential(layers)
    if drop:
        layers["drop_path"] = DropPath(drop)
    return Residual(nn.Sequential(layers))
