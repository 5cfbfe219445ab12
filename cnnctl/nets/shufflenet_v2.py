"""ShuffleNet V2 (Ma et al. 2018, table 5 and figures 3c, 3d).

A unit works on one half of the channels only and shuffles both halves together. Layers carry
the names of table 5: conv1, stage2_1 to stage4_4, conv5.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from cnnctl.config.kinds import show
from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Concat, Norm, head, unit
from cnnctl.nets.net import Net


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """A column of table 5."""

    stem: int = key("channels of conv1", min=1)
    widths: tuple[int, ...] = key("channels of each stage", min=2)
    depths: tuple[int, ...] = key("units of each stage, the first with stride 2", min=1)
    head: int = key("channels of conv5", min=1)
    norm: Norm = key("after every convolution")
    activation: Activation = key("after every convolution that is not depthwise")

    def problems(self) -> Iterator[Problem]:
        """Lists of different lengths, channels without halves."""
        yield from spec.per_stage(self.depths, self.widths)
        if any(width % 2 for width in self.widths):
            text = f"model.widths must be even, to be split in halves, got {show([*self.widths])}"
            yield Problem(text, key="model.widths")


class Split(nn.Module):
    """The first half of the channels as they are, beside the branch of the second half."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        kept, worked = value.chunk(2, 1)
        return torch.cat([kept, self.branch(worked)], 1)


class ShuffleNetV2(Net):
    """(B, in_channels, 224, 224) -> logits (B, num_classes); other sizes work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        conv = partial(unit, norm=spec.norm, activation=spec.activation)
        c_in = spec.stem
        layers = conv("conv1", shape[0], c_in, 3, stride=1 if spec.small_input else 2)
        if not spec.small_input:
            layers["maxpool"] = nn.MaxPool2d(3, 2, 1)
        for stage, (c_out, depth) in enumerate(zip(spec.widths, spec.depths, strict=True), 2):
            layers[f"stage{stage}_1"] = _halving(spec, c_in, c_out)
            for number in range(2, depth + 1):
                layers[f"stage{stage}_{number}"] = _keeping(spec, c_out)
            c_in = c_out
        layers |= conv("conv5", c_in, spec.head, 1)
        super().__init__(layers | head(spec.head, num_classes), spec.init)


def _keeping(spec: Spec, channels: int) -> nn.Module:
    """Figure 3c: one half passes, the other is worked on."""
    split = Split(_branch(spec, channels // 2, channels // 2, stride=1))
    return nn.Sequential(OrderedDict(split=split, shuffle=nn.ChannelShuffle(2)))


def _halving(spec: Spec, c_in: int, c_out: int) -> nn.Module:
    """Figure 3d: no split, both branches see all channels and halve the image."""
    shortcut = unit("dwconv", c_in, c_in, 3, stride=2, groups=c_in, norm=spec.norm,
                    activation="none")  # fmt: skip
    shortcut |= unit("conv", c_in, c_out // 2, 1, norm=spec.norm, activation=spec.activation)
    branch = _branch(spec, c_in, c_out // 2, stride=2)
    concat = Concat({"shortcut": nn.Sequential(shortcut), "branch": branch})
    return nn.Sequential(OrderedDict(concat=concat, shuffle=nn.ChannelShuffle(2)))


def _branch(spec: Spec, c_in: int, c_out: int, *, stride: int) -> nn.Sequential:
    """1x1, depthwise 3x3, 1x1; as wide inside as outside (section 3, guideline 1)."""
    conv = partial(unit, norm=spec.norm, activation=spec.activation)
    layers = conv("conv1", c_in, c_out, 1)
    layers |= conv("dwconv", c_out, c_out, 3, stride=stride, groups=c_out, activation="none")
    return nn.Sequential(layers | conv("conv2", c_out, c_out, 1))
