"""The multilayer perceptron (Rumelhart, Hinton, Williams 1986): dense layers only."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from cnnctl.config.schema import key
from cnnctl.nets import spec
from cnnctl.nets.blocks import Activation, Layers, dense
from cnnctl.nets.net import Net


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """The widths of the hidden layers."""

    hidden: tuple[int, ...] = key("units of each hidden layer", min=1)
    activation: Activation = key("after every hidden layer")


class Mlp(Net):
    """(B, in_channels, H, W) -> logits (B, num_classes)."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        hidden, width = dense(spec.hidden, math.prod(shape), spec.activation)
        flatten: Layers = OrderedDict(flatten=nn.Flatten())
        output: Layers = OrderedDict(output=nn.Linear(width, num_classes))
        super().__init__(flatten | hidden | output, spec.init)
