"""DenseNet (Huang et al. 2017, section 3 and table 1).

Every layer of a block sees the maps of all layers before it and adds `growth` maps of its own;
a transition between two blocks drops some maps and halves the image. DenseNet-B has bottlenecks,
DenseNet-C compresses in its transitions, DenseNet-BC does both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import (
    ACTIVATIONS,
    Activation,
    Concat,
    Layers,
    Norm,
    activated,
    head,
    normalisation,
)
from cnnctl.nets.net import Net


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """The numbers of table 1."""

    stem: int = key("maps of conv1", min=1)
    depths: tuple[int, ...] = key("dense layers of each block", min=1)
    growth: int = key("maps that every dense layer adds (k)", min=1)
    bottleneck: int = key("maps of the 1x1 convolutions, in growths; 0 leaves them out", min=0)
    compression: float = key("share of the maps that a transition keeps (theta)", above=0, max=1)
    norm: Norm = key("before every convolution but conv1, and before the head")
    activation: Activation = key("after every norm")
    dropout: float = key("after every convolution but conv1", min=0, below=1)

    def problems(self) -> Iterator[Problem]:
        """No block, or a transition that keeps no map."""
        if not self.depths:
            yield Problem("model.depths must have at least one block, got []", key="model.depths")
        maps = self.stem
        for block, depth in enumerate(self.depths[:-1], start=1):
            maps += depth * self.growth
            kept = int(maps * self.compression)
            if kept == 0:
                wanted = f"must keep at least 1 of the {maps} maps of transition{block}"
                text = f"model.compression {wanted}, got {self.compression}"
                yield Problem(text, key="model.compression")
                return
            maps = kept


class DenseNet(Net):
    """(B, in_channels, H, W) -> logits (B, num_classes)."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers, maps = _stem(spec, shape[0]), spec.stem
        for block, depth in enumerate(spec.depths, start=1):
            for number in range(1, depth + 1):
                layers[f"dense{block}_{number}"] = _dense_layer(maps, spec)
                maps += spec.growth
            if block < len(spec.depths):
                kept = int(maps * spec.compression)
                layers[f"transition{block}"] = _transition(maps, kept, spec)
                maps = kept
        last = len(spec.depths) + 1
        layers[f"norm{last}"] = normalisation(spec.norm, maps)
        layers[f"act{last}"] = ACTIVATIONS[spec.activation]()
        super().__init__(layers | head(maps, num_classes), spec.init)


def _stem(spec: Spec, c_in: int) -> Layers:
    """A 7x7 convolution and a pool (table 1), or for small images a 3x3 one (section 3)."""
    plain = spec.norm == "none"
    if spec.small_input:
        return OrderedDict(conv1=nn.Conv2d(c_in, spec.stem, 3, padding=1, bias=plain))
    return OrderedDict(
        conv1=nn.Conv2d(c_in, spec.stem, 7, stride=2, padding=3, bias=plain),
        norm1=normalisation(spec.norm, spec.stem), act1=ACTIVATIONS[spec.activation](),
        pool1=nn.MaxPool2d(3, stride=2, padding=1),
    )  # fmt: skip


def _dense_layer(c_in: int, spec: Spec) -> nn.Module:
    """[x, H(x)]: the maps (B, C, H, W) as they came, and `growth` new ones (equation 2)."""
    new: Layers = OrderedDict()
    if spec.bottleneck:
        width = spec.bottleneck * spec.growth
        new = _composite("reduce", c_in, width, 1, spec)
        c_in = width
    new |= _composite("grow", c_in, spec.growth, 3, spec)
    return Concat(OrderedDict(old=nn.Identity(), new=nn.Sequential(new)))


def _transition(c_in: int, c_out: int, spec: Spec) -> nn.Module:
    """(B, C, H, W) -> (B, C', H/2, W/2) (section 3, pooling layers)."""
    pool: Layers = OrderedDict(pool=nn.AvgPool2d(2))
    return nn.Sequential(_composite("conv", c_in, c_out, 1, spec) | pool)


def _composite(name: str, c_in: int, c_out: int, kernel: int, spec: Spec) -> Layers:
    """Normalisation, activation, convolution `name` (section 3, composite function)."""
    layers = activated(name, c_in, spec.norm, spec.activation)
    layers[name] = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=spec.norm == "none")
    if spec.dropout:
        layers[f"{name}_drop"] = nn.Dropout(spec.dropout)
    return layers
