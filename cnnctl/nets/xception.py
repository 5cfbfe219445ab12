"""Xception (Chollet 2017, figure 5): depthwise separable convolutions with shortcuts around.

A separable convolution is a 3x3 kernel of its own for every channel, then a 1x1 convolution
over all of them, without a non-linearity between (section 4.7). The entry flow halves the maps
three times, the middle flow repeats one block, the exit flow halves once more.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from torch import nn

from cnnctl.config.schema import key
from cnnctl.nets import spec
from cnnctl.nets.blocks import ACTIVATIONS, Activation, Layers, Norm, Residual, head, unit
from cnnctl.nets.net import Net

DEPTH = 3  # separable convolutions in a block of the middle flow


@dataclass(frozen=True, kw_only=True)
class Spec(spec.ImageNetSpec):
    """The numbers of figure 5."""

    stem: tuple[int, int] = key("maps of the two plain convolutions", min=1)
    entry: tuple[int, ...] = key("maps of each block of the entry flow", min=1)
    middle: int = key("blocks of the middle flow, as wide as the last of the entry flow", min=0)
    exit: tuple[int, int, int] = key("maps of the exit flow's block and last two layers", min=1)
    activation: Activation = key("before every separable convolution, and after the last")
    norm: Norm = key("after every convolution")
    dropout: float = key("share of the last features that training sets to 0", min=0, below=1)


class Block(Residual):
    """branch(x) + shortcut(x), with the weights of the shortcut first, as timm has them."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__(branch, shortcut)
        del self.branch
        self.branch = branch


class Xception(Net):
    """(B, in_channels, 299, 299) -> logits (B, num_classes); smaller images work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        c1, c2 = spec.stem
        stride, padding = (1, 1) if spec.small_input else (2, 0)
        conv = partial(unit, padding=padding, norm=spec.norm, activation=spec.activation)
        layers = conv("conv1", shape[0], c1, 3, stride=stride) | conv("conv2", c1, c2, 3)
        middle = (c2, *spec.entry)[-1]
        flow = [
            *((c_out, c_out) for c_out in spec.entry),
            *[(middle,) * DEPTH] * spec.middle,
            (middle, spec.exit[0]),
        ]
        width = c2
        for number, widths in enumerate(flow, start=1):
            layers[f"block{number}"] = _block(spec, width, widths, first=number == 1)
            width = widths[-1]
        for number, c_out in enumerate(spec.exit[1:], start=3):
            layers |= separable(f"conv{number}", width, c_out, spec.norm)
            layers[f"conv{number}_act"] = ACTIVATIONS[spec.activation]()
            width = c_out
        super().__init__(layers | head(width, num_classes, spec.dropout), spec.init)


def separable(name: str, c_in: int, c_out: int, norm: str) -> Layers:
    """A 3x3 kernel for each channel, then 1x1 over all: (B, c_in, H, W) -> (B, c_out, H, W)."""
    each = unit(f"{name}_depthwise", c_in, c_in, 3, groups=c_in, bias=False, activation="none")
    return each | unit(f"{name}_pointwise", c_in, c_out, 1, norm=norm, activation="none")


def _block(spec: Spec, c_in: int, widths: tuple[int, ...], *, first: bool) -> Block:
    """Separable convolutions: two, a pool and a 1x1 shortcut, or three and the identity."""
    layers: Layers = OrderedDict()
    width = c_in
    for number, c_out in enumerate(widths, start=1):
        if number > 1 or not first:  # what the stem gives has passed its activation
            layers[f"act{number}"] = ACTIVATIONS[spec.activation]()
        layers |= separable(f"conv{number}", width, c_out, spec.norm)
        width = c_out
    if len(widths) == DEPTH:
        return Block(nn.Sequential(layers), None)
    layers["pool"] = nn.MaxPool2d(3, 2, padding=1)
    shortcut = unit("conv", c_in, width, 1, stride=2, norm=spec.norm, activation="none")
    return Block(nn.Sequential(layers), nn.Sequential(shortcut))
