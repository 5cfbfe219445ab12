"""LeNet-5 (LeCun et al. 1998, section II.B, figure 2).

Two rounds of convolution and subsampling, a third convolution that sees the whole of what
is left, one hidden dense layer. The layers carry the names of figure 2.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from cnnctl.config.schema import key
from cnnctl.nets import spec
from cnnctl.nets.blocks import ACTIVATIONS, POOLS, Activation, Layers, Pool, dense, flat_features
from cnnctl.nets.net import Net


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """The numbers of figure 2."""

    maps: tuple[int, int, int] = key("maps of C1, C3 and C5", min=1)
    kernel: int = key("side of every convolution's kernel", min=1)
    hidden: tuple[int, ...] = key("units of F6", min=1)
    activation: Activation = key("after every layer but the last")
    pool: Pool = key("kind of subsampling in S2 and S4")


class LeNet(Net):
    """(B, in_channels, 32, 32) -> logits (B, num_classes); larger images work too."""

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        activation, pool = ACTIVATIONS[spec.activation], POOLS[spec.pool]
        c1, c3, c5 = spec.maps
        layers: Layers = OrderedDict(
            c1=nn.Conv2d(shape[0], c1, spec.kernel), c1_act=activation(), s2=pool(2),
            c3=nn.Conv2d(c1, c3, spec.kernel), c3_act=activation(), s4=pool(2),
            c5=nn.Conv2d(c3, c5, spec.kernel), c5_act=activation(), flatten=nn.Flatten(),
        )  # fmt: skip
        hidden, width = dense(spec.hidden, flat_features(layers, shape), spec.activation, first=6)
        output: Layers = OrderedDict(output=nn.Linear(width, num_classes))
        super().__init__(layers | hidden | output, spec.init)
