"""Network in Network (Lin, Chen, Yan 2013, section 3, figure 2; the authors' definitions).

An mlpconv block is a convolution and a small perceptron on each of its pixels, as 1x1
convolutions. The last block gives one map per class, whose mean is the logit: no dense layer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from typing import NamedTuple

from torch import nn

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Layers, Norm, unit
from cnnctl.nets.net import Net

SMALL = (3, 1, 1)  # kernel, stride and padding of conv1 for small images


class Block(NamedTuple):
    """One mlpconv block: the convolution's numbers, and the maps of it and of the 1x1 layers."""

    kernel: int
    stride: int
    padding: int
    maps: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """The mlpconv blocks of figure 2."""

    blocks: tuple[Block, ...] = key(
        "rows: kernel, stride, padding, maps of the convolution and of each 1x1; "
        "one 1x1 with a map per class follows the last",
        min=0,
    )
    activation: Activation = key("after every convolution")
    norm: Norm = key("between a convolution and its activation")
    dropout: float = key("after every block but the last", min=0, below=1)

    def problems(self) -> Iterator[Problem]:
        """Blocks that cannot be built, and switches without effect."""
        if not self.blocks:
            yield Problem("model.blocks: want at least one row, got []", key="model.blocks")
        for number, (kernel, stride, padding, maps) in enumerate(self.blocks):
            where = f"model.blocks.{number}"
            if not maps:
                yield Problem(f"{where}: want the maps of at least one layer, got []", key=where)
            if 0 in (kernel, stride, *maps):
                text = f"{where}: kernel, stride and maps must be at least 1"
                yield Problem(f"{text}, got {[kernel, stride, padding, list(maps)]}", key=where)
        if self.small_input and self.blocks and self.blocks[0][:3] == SMALL:
            text = "model.small_input has no effect: conv1 is 3x3/1 already"
            yield Problem(text, "model.small_input=false", "model.small_input")
        if self.dropout and len(self.blocks) == 1:
            text = "model.dropout has no effect: there is no second block"
            yield Problem(text, "model.dropout=0", "model.dropout")


class NiN(Net):
    """(B, in_channels, H, W) -> logits (B, num_classes)."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        conv = partial(unit, norm=spec.norm, activation=spec.activation)
        layers: Layers = OrderedDict()
        c_in, cccp = shape[0], count(1)  # the authors number the 1x1 through all blocks
        blocks = _blocks(spec, num_classes)
        for number, (kernel, stride, padding, maps) in enumerate(blocks, start=1):
            layers |= conv(f"conv{number}", c_in, maps[0], kernel, stride=stride, padding=padding)
            for c_before, c_out in pairwise(maps):
                layers |= conv(f"cccp{next(cccp)}", c_before, c_out, 1)
            c_in = maps[-1]
            if number < len(blocks):
                layers[f"pool{number}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
                if spec.dropout:
                    layers[f"drop{number}"] = nn.Dropout(spec.dropout)
        layers |= OrderedDict(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
        super().__init__(layers, spec.init)


def _blocks(spec: Spec, num_classes: int) -> list[Block]:
    """The rows with the maps of the classes, and conv1 as `small_input` wants it."""
    first, *blocks = spec.blocks
    if spec.small_input:
        first = Block(*SMALL, first.maps)
    *blocks, last = first, *blocks
    return [*blocks, last._replace(maps=(*last.maps, num_classes))]
