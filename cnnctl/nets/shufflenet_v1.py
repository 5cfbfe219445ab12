"""ShuffleNet (Zhang et al. 2018, table 1 and figure 2).

Bottlenecks whose pointwise convolutions work in groups; a shuffle of the channels lets every
group see all groups before it. Layers carry the names of table 1: conv1, stage2_1 to stage4_4.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from torch import nn

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import ACTIVATIONS, Activation, Concat, Norm, Residual, head, unit
from cnnctl.nets.net import Net


class Block(NamedTuple):
    """One unit of figure 2; `groups` are those of its first convolution."""

    name: str
    c_in: int
    c_out: int
    stride: int
    groups: int


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """A column of table 1, the factor s of section 3.3 and the switch of section 4.1.2."""

    stem: int = key("channels of conv1", min=1)
    widths: tuple[int, ...] = key("channels that the units of each stage give", min=1)
    depths: tuple[int, ...] = key("units of each stage, the first with stride 2", min=1)
    width: float = key("factor on all these channels", above=0)
    groups: int = key("groups of the pointwise convolutions", min=1)
    bottleneck: int = key("channels that a unit gives, per channel of its bottleneck", min=1)
    shuffle: bool = key("shuffle the channels after the first pointwise convolution of a unit")
    norm: Norm = key("after every convolution")
    activation: Activation = key("after conv1, a unit's first convolution and its sum")

    def channels(self) -> list[int]:
        """Of conv1 and of every stage, scaled."""
        return [round(width * self.width) for width in (self.stem, *self.widths)]

    def blocks(self) -> Iterator[Block]:
        """Every unit in the order of the forward pass."""
        c_in, *widths = self.channels()
        for stage, (c_out, depth) in enumerate(zip(widths, self.depths, strict=True), 2):
            for number in range(1, depth + 1):
                # the channels of conv1 are too few for groups (section 3.3)
                groups = 1 if (stage, number) == (2, 1) else self.groups
                stride = 2 if number == 1 else 1
                yield Block(f"stage{stage}_{number}", c_in, c_out, stride, groups)
                c_in = c_out

    def problems(self) -> Iterator[Problem]:
        """Lists of different lengths, channels that do not divide, a shuffle of one group."""
        yield from spec.per_stage(self.depths, self.widths)
        yield from self._division()
        if self.shuffle and self.groups == 1:
            text = "model.shuffle=true has no effect with model.groups=1"
            yield Problem(text, "model.shuffle=false", "model.shuffle")

    def _division(self) -> Iterator[Problem]:
        stem, *widths = self.channels()
        if not stem or stem % self.groups:
            got = self._got(stem, self.stem)
            text = f"model.stem must be a multiple of the {self.groups} groups, got {got}"
            yield Problem(text, key="model.stem")
        share, got = self.groups * self.bottleneck, self._got(widths, list(self.widths))
        if any(width % share for width in widths):
            rule = f"groups · bottleneck = {self.groups} · {self.bottleneck} = {share}"
            text = f"model.widths must be multiples of {rule}, got {got}"
            yield Problem(text, "shufflenet_v1_g1 to _g8 have the paper's", "model.widths")
        elif any(c_in >= c_out for c_in, c_out in pairwise((stem, *widths))):
            text = f"model.widths must grow from the {stem} of conv1 on, got {got}"
            yield Problem(text, "a stage adds channels to those it gets", "model.widths")

    def _got(self, scaled: object, given: object) -> str:
        """What was given, and what became of it."""
        return f"{scaled}" if self.width == 1 else f"{scaled} ({given} at width {self.width:g})"


class ShuffleNetV1(Net):
    """(B, in_channels, 224, 224) -> logits (B, num_classes); other sizes work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        stem, *_, last = spec.channels()
        layers = unit(
            "conv1", shape[0], stem, 3, stride=1 if spec.small_input else 2,
            norm=spec.norm, activation=spec.activation,
        )  # fmt: skip
        if not spec.small_input:
            layers["maxpool"] = nn.MaxPool2d(3, 2, 1)
        for block in spec.blocks():
            layers[block.name] = _unit(spec, block)
        super().__init__(layers | head(last, num_classes), spec.init)


def _unit(spec: Spec, block: Block) -> nn.Module:
    """Figure 2b adds the branch to what comes in; figure 2c puts it beside that, pooled."""
    branch, act = _branch(spec, block), ACTIVATIONS[spec.activation]()
    if block.stride == 1:
        return Residual(branch, act=act)
    concat = Concat({"shortcut": nn.AvgPool2d(3, 2, 1), "branch": branch})
    return nn.Sequential(OrderedDict(concat=concat, act=act))


def _branch(spec: Spec, block: Block) -> nn.Sequential:
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1."""
    _, c_in, c_out, stride, groups = block
    middle = c_out // spec.bottleneck
    beside = c_in if stride > 1 else 0
    conv = partial(unit, norm=spec.norm)
    layers = conv("gconv1", c_in, middle, 1, groups=groups, activation=spec.activation)
    if spec.shuffle:
        layers["shuffle"] = nn.ChannelShuffle(spec.groups)
    layers |= conv("dwconv", middle, middle, 3, stride=stride, groups=middle, activation="none")
    layers |= conv("gconv2", middle, c_out - beside, 1, groups=spec.groups, activation="none")
    return nn.Sequential(layers)
