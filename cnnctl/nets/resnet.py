"""Residual nets and their plain twins (He et al. 2016, table 1 and section 4.2).

A stem, then stages of blocks; the first block of every stage but the first halves the image.
Wider (Zagoruyko, Komodakis 2016, table 8) and grouped (Xie et al. 2017, table 1) bottlenecks
are other numbers of the same net. Blocks carry the names of table 1: conv2_1 to conv5_3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import nn

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import ACTIVATIONS, Activation, Layers, Norm, Residual, head, unit
from cnnctl.nets.net import Net


class Block(NamedTuple):
    """One block: channels that come in, of its 3x3 convolutions, and that go out."""

    name: str
    c_in: int
    width: int
    c_out: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """The columns of table 1, and the choices of sections 3.3 and 4.1."""

    stem: int = key("maps of conv1", min=1)
    block: Literal["basic", "bottleneck"] = key("two 3x3 convolutions, or 1x1, 3x3, 1x1")
    depths: tuple[int, ...] = key("blocks of each stage", min=1)
    widths: tuple[int, ...] = key("maps of the 3x3 convolutions of each stage", min=1)
    expand: float = key("maps of a block's last convolution, in widths", above=0)
    groups: int = key("groups of a bottleneck's 3x3 convolution, its cardinality", min=1)
    stride_on: Literal["1x1", "3x3"] = key("first convolution of the block, or first 3x3")
    shortcut: Literal["A", "B", "C", "none"] = key(
        "A pads with zeros, B projects where the shape changes, C projects everywhere"
    )
    norm: Norm = key("after every convolution")
    activation: Activation = key("after every norm, and after every sum")
    zero_init: bool = key("start the last norm of each branch at 0: the block is the identity")

    def problems(self) -> Iterator[Problem]:
        """Lists of different lengths, channels that do not fit, switches without effect."""
        yield from spec.per_stage(self.depths, self.widths)
        yield from self._channels()
        yield from self._switches()

    def blocks(self) -> Iterator[Block]:
        """Every block in the order of the forward pass."""
        c_in = self.stem
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=False), 2):
            c_out = int(width * self.expand)
            for number in range(1, depth + 1):
                halves = stage > 2 and number == 1  # noqa: PLR2004 - conv2 follows the pool
                yield Block(f"conv{stage}_{number}", c_in, width, c_out, 2 if halves else 1)
                c_in = c_out

    def _channels(self) -> Iterator[Problem]:
        for stage, width in enumerate(self.widths, 2):
            maps = width * self.expand
            if maps != int(maps):
                text = f"model.expand={self.expand:g} gives conv{stage} {maps:g} maps"
                yield Problem(text, "want a whole number", "model.expand")
            if self.block == "bottleneck" and width % self.groups:
                text = f"model.groups={self.groups} does not divide the {width} maps of conv{stage}"
                yield Problem(text, key="model.groups")
        for name, c_in, _, c_out, _ in self.blocks():
            if self.shortcut == "A" and c_out < c_in:
                text = f"model.shortcut=A cannot bring {c_in} maps to the {c_out} of {name}"
                yield Problem(text, "model.shortcut=B", "model.shortcut")

    def _switches(self) -> Iterator[Problem]:
        if self.block == "basic" and self.groups > 1:
            text = f"model.groups must be 1 for basic blocks, got {self.groups}"
            yield Problem(text, "model.block=bottleneck", "model.groups")
        if self.block == "basic" and self.stride_on == "1x1":
            text = "model.stride_on must be 3x3 for basic blocks, got '1x1'"
            yield Problem(text, key="model.stride_on")
        if self.zero_init and "none" in (self.shortcut, self.norm):
            wanted = "norm" if self.norm == "none" else "shortcut"
            text = f"model.zero_init=true needs a {wanted}, got model.{wanted}=none"
            yield Problem(text, key="model.zero_init")


class ResNet(Net):
    """(B, in_channels, 224, 224) -> logits (B, num_classes); other sizes work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        kernel, stride = (3, 1) if spec.small_input else (7, 2)
        layers = unit(
            "conv1", shape[0], spec.stem, kernel,
            stride=stride, norm=spec.norm, activation=spec.activation,
        )  # fmt: skip
        if not spec.small_input:
            layers["pool1"] = nn.MaxPool2d(3, 2, 1)
        c_out = spec.stem
        for block in spec.blocks():
            layers[block.name] = _residual(spec, block)
            c_out = block.c_out
        super().__init__(layers | head(c_out, num_classes), spec.init)


def _residual(spec: Spec, block: Block) -> nn.Module:
    """A block of figure 5, or its branch alone in a plain net (figure 3)."""
    branch, act = _branch(spec, block), ACTIVATIONS[spec.activation]()
    if spec.zero_init:
        nn.init.zeros_(branch[-1].get_parameter("weight"))
    if spec.shortcut == "none":
        return nn.Sequential(OrderedDict(branch=branch, act=act))
    return Residual(branch, _shortcut(spec, block), act)


def _branch(spec: Spec, block: Block) -> nn.Sequential:
    """The residual function F, named conv1, conv2, …; nothing follows its last norm."""
    _, c_in, width, c_out, stride = block
    if spec.block == "basic":
        rows = [(3, width, stride, 1), (3, c_out, 1, 1)]
    else:
        first, second = (stride, 1) if spec.stride_on == "1x1" else (1, stride)
        rows = [(1, width, first, 1), (3, width, second, spec.groups), (1, c_out, 1, 1)]
    layers: Layers = OrderedDict()
    for number, (kernel, maps, step, groups) in enumerate(rows, 1):
        last = number == len(rows)
        layers |= unit(
            f"conv{number}", c_in, maps, kernel, stride=step, groups=groups,
            norm=spec.norm, activation="none" if last else spec.activation,
        )  # fmt: skip
        c_in = maps
    return nn.Sequential(layers)


def _shortcut(spec: Spec, block: Block) -> nn.Module | None:
    """Options A, B and C of section 4.1; None is the identity."""
    _, c_in, _, c_out, stride = block
    same = stride == 1 and c_in == c_out
    if spec.shortcut == "C" or (spec.shortcut == "B" and not same):
        return nn.Sequential(
            unit("conv", c_in, c_out, 1, stride=stride, norm=spec.norm, activation="none")
        )
    if same:
        return None
    # a pool of one pixel takes every second one; the three axes are width, height, maps
    pad = nn.ZeroPad3d((0, 0, 0, 0, 0, c_out - c_in))
    return nn.Sequential(OrderedDict(subsample=nn.AvgPool2d(1, stride), pad=pad))
