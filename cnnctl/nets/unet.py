"""U-Net (Ronneberger, Fischer, Brox 2015, figure 1).

A way down of two 3x3 convolutions a level and a 2x2 max pool between levels, a way up of 2x2
up-convolutions, each joined by the maps of its level on the way down, cut to its size. The layers
are down1_1, down1_2, pool1, …, up4, up4_1, up4_2, …, final.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnctl.config.fields import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Layers, Norm, unit
from cnnctl.nets.segmenter import Segmenter
from cnnctl.nets.upsample import Unpooled, Upsample, up


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """The numbers of figure 1."""

    widths: tuple[int, ...] = key("maps of each level, from the top", min=1)
    padded: bool = key("convolutions keep the size; else each takes a pixel off every edge")
    upsample: Upsample = key("the way up between two levels")
    activation: Activation = key("after every convolution but the last")
    norm: Norm = key("between a convolution and its activation")
    dropout: float = key("share of the lowest maps that training sets to 0", min=0, below=1)

    def problems(self) -> Iterator[Problem]:
        """One level has no way up; places in a cut map are not those in the whole one."""
        if len(self.widths) < 2:  # noqa: PLR2004 - a level and one below it
            text = f"model.widths must have two levels or more, got {list(self.widths)}"
            yield Problem(text, "model.widths=[64,128,256,512,1024]", "model.widths")
        if self.upsample == "unpool" and not self.padded:
            text = "model.upsample=unpool needs maps of the same size on both ways"
            yield Problem(text, "model.padded=true, or model=unet_same", "model.upsample")


class Unet(Segmenter):
    """(B, in_channels, H, W) -> logits (B, num_classes, H, W); the paper's 572x572 -> 388x388."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers: Layers = OrderedDict()
        c_in = shape[0]
        for level, width in enumerate(spec.widths, 1):
            if level > 1:
                layers[f"pool{level - 1}"] = nn.MaxPool2d(2, return_indices=_unpools(spec))
            layers |= _pair(f"down{level}", c_in, width, spec)
            c_in = width
        if spec.dropout:
            layers["drop"] = nn.Dropout(spec.dropout)
        for level, width in reversed(list(enumerate(spec.widths[:-1], 1))):
            layers[f"up{level}"] = up(spec.upsample, c_in, width)
            layers |= _pair(f"up{level}", 2 * width, width, spec)
            c_in = width
        layers["final"] = nn.Conv2d(c_in, num_classes, 1)
        super().__init__(layers, spec.init)
        self.pools = len(spec.widths) - 1
        self.lost = 0 if spec.padded else 2  # pixels that a pair takes off every edge
        self.stride = 2**self.pools
        self.margin = self._margin()

    def side(self, length: int) -> int:
        """As the paper asks for: every pool gets an even size."""
        least = length + 2 * self.margin
        rest = sum(2 * self.lost * 2**level for level in range(self.pools))  # of 16 n + 60
        lowest = max(2 * self.lost + 1, -(-(least - rest) // self.stride))
        return self.stride * lowest + rest

    def maps(self, images: Tensor) -> Tensor:
        """The way down and the way up."""
        value = images
        kept: dict[str, Tensor] = {}
        places: dict[str, Tensor] = {}
        for name, layer in self.named_children():
            level = name.removeprefix("pool").removeprefix("up")
            if name.startswith("pool"):
                kept[level] = value
                value = layer(value)
                if isinstance(value, tuple):
                    value, places[level] = value
            elif level in kept:
                value = layer(value, places[level]) if isinstance(layer, Unpooled) else layer(value)
                value = torch.cat((_cut(kept.pop(level), value), value), 1)
            else:
                value = layer(value)
        return value

    def _margin(self) -> int:
        """Pixels that the maps lack at each edge: 92 in the paper."""
        down = sum(self.lost * 2**level for level in range(self.pools + 1))
        return down + sum(self.lost * 2**level for level in range(self.pools))


def _pair(name: str, c_in: int, c_out: int, spec: Spec) -> Layers:
    """Two 3x3 convolutions with what follows each."""
    padding = 1 if spec.padded else 0
    layers: Layers = OrderedDict()
    for place in (1, 2):
        layers |= unit(
            f"{name}_{place}", c_in if place == 1 else c_out, c_out, 3, padding=padding,
            norm=spec.norm, activation=spec.activation,
        )  # fmt: skip
    return layers


def _cut(value: Tensor, like: Tensor) -> Tensor:
    """The middle of a map, as large as another."""
    top, left = ((value.shape[dim] - like.shape[dim]) // 2 for dim in (2, 3))
    return value[:, :, top : top + like.shape[2], left : left + like.shape[3]]


def _unpools(spec: Spec) -> bool:
    return spec.upsample == "unpool"
