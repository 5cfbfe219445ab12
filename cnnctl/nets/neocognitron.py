"""The neocognitron (Fukushima 1980): layers of S cells that learn and of C cells that do not.

An S cell looks for a feature, a C cell asks whether one of its neighbours has found it. The
layers carry the paper's names: U_S1 is `us1`, U_C1 is `uc1`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu

from cnnctl.config.schema import key
from cnnctl.errors import Problem
from cnnctl.nets import spec
from cnnctl.nets.blocks import Layers, flat_features, unit
from cnnctl.nets.net import Net


class Stage(NamedTuple):
    """An S layer and the C layer behind it."""

    planes: int
    s_kernel: int
    s_padding: int
    c_kernel: int
    c_padding: int  # negative: so many rows and columns at the border have no C cell


LEAST = {"planes": 2, "s_kernel": 1, "s_padding": 0, "c_kernel": 1}


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """The sizes of the paper's computer simulation."""

    stages: tuple[Stage, ...] = key("planes, then kernel and padding of the S and the C cells")
    falloff: float = key("weight of a C cell's input at distance d: falloff^d", above=0, max=1)
    saturation: float = key("alpha of the C cells' x/(alpha + x)", above=0)

    def problems(self) -> Iterator[Problem]:
        """Numbers that leave nothing to see, or nothing to compare with."""
        for number, stage in enumerate(self.stages):
            for name, least in LEAST.items():
                given = getattr(stage, name)
                if given < least:
                    text = f"model.stages.{number}: {name} must be at least {least}, got {given}"
                    hint = "C cells compare planes" if least > 1 else None
                    yield Problem(text, hint, f"model.stages.{number}")


class CCells(nn.AvgPool2d):
    """Fixed weights that fall with the distance, lateral inhibition, saturation.

    u = psi((1 + Σ d·u_s) / (1 + v) − 1), where v is the mean of Σ d·u_s over the planes and
    psi(x) is x/(alpha + x) above 0, else 0 (Fukushima 1980, section 2). The weights d sum to 1.
    """

    weights: Tensor

    def __init__(self, kernel: int, padding: int, falloff: float, saturation: float) -> None:
        super().__init__(kernel, stride=1, padding=padding)
        self.border = [padding] * 4  # cuts off where negative
        self.saturation = saturation
        offsets = torch.arange(kernel) - (kernel - 1) / 2
        weights = falloff ** torch.hypot(offsets.unsqueeze(1), offsets.unsqueeze(0))
        self.register_buffer("weights", weights / weights.sum())

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(B, planes, H, W) -> (B, planes, H', W'), from 0 to below 1."""
        planes = input.shape[1]
        near = conv2d(
            pad(input, self.border), self.weights.expand(planes, 1, -1, -1), groups=planes
        )
        excess = relu((1 + near) / (1 + near.mean(1, keepdim=True)) - 1)
        return excess / (self.saturation + excess)


class Neocognitron(Net):
    """(B, in_channels, 16, 16) -> logits (B, num_classes); larger images work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers: Layers = OrderedDict()
        c_in = shape[0]
        for number, stage in enumerate(spec.stages, start=1):
            layers |= unit(
                f"us{number}", c_in, stage.planes, stage.s_kernel, padding=stage.s_padding
            )
            layers[f"uc{number}"] = CCells(
                stage.c_kernel, stage.c_padding, spec.falloff, spec.saturation
            )
            c_in = stage.planes
        layers["flatten"] = nn.Flatten()
        layers["output"] = nn.Linear(flat_features(layers, shape), num_classes)
        super().__init__(layers, spec.init)
