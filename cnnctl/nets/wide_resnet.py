"""Wide residual nets for 32x32 pixels (Zagoruyko, Komodakis 2016, table 1, block B(3,3)).

Norm and activation stand before each convolution (He et al. 2016, Identity mappings in deep
residual networks); dropout stands between the two convolutions of a block.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Layers, Norm, Residual, activated, head
from cnnctl.nets.net import Net


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """The numbers of table 1: N is a depth, k is widen."""

    stem: int = key("maps of conv1", min=1)
    depths: tuple[int, ...] = key("blocks of each stage", min=1)
    widths: tuple[int, ...] = key("maps of each stage, before widening", min=1)
    widen: int = key("factor on all widths", min=1)
    norm: Norm = key("before every convolution but the first, and before the pool")
    activation: Activation = key("after every norm")
    dropout: float = key("share dropped between the convolutions of a block", min=0, below=1)

    def problems(self) -> Iterator[Problem]:
        """Lists of different lengths."""
        yield from spec.per_stage(self.depths, self.widths)


class WideResNet(Net):
    """(B, in_channels, 32, 32) -> logits (B, num_classes); larger images work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers: Layers = OrderedDict(conv1=_conv(spec, shape[0], spec.stem))
        c_in = spec.stem
        for stage, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 2):
            for number in range(1, depth + 1):
                halves = stage > 2 and number == 1  # noqa: PLR2004 - conv2 keeps the size
                c_out = width * spec.widen
                block = _block(spec, c_in, c_out, stride=2 if halves else 1)
                layers[f"conv{stage}_{number}"] = block
                c_in = c_out
        layers |= activated("last", c_in, spec.norm, spec.activation)
        super().__init__(layers | head(c_in, num_classes), spec.init)


def _block(spec: Spec, c_in: int, c_out: int, stride: int) -> nn.Module:
    """The sum x + F(x); where the shape changes, F and a projection share the first activation."""
    active = activated("conv1", c_in, spec.norm, spec.activation)
    branch: Layers = OrderedDict(conv1=_conv(spec, c_in, c_out, stride=stride))
    branch |= activated("conv2", c_out, spec.norm, spec.activation)
    if spec.dropout:
        branch["drop"] = nn.Dropout(spec.dropout)
    branch["conv2"] = _conv(spec, c_out, c_out)
    if stride == 1 and c_in == c_out:
        return Residual(nn.Sequential(active | branch))
    shortcut = _conv(spec, c_in, c_out, kernel=1, stride=stride)
    return nn.Sequential(active | {"sum": Residual(nn.Sequential(branch), shortcut)})


def _conv(spec: Spec, c_in: int, c_out: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=spec.norm == "none")
