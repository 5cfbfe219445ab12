"""How weights start: the rules of the papers, by the names that stand in the YAML files.

Every rule sets the weights of convolutions and dense layers; all but `torch` set their biases
to 0. Normalisation starts as torch does it: scale 1, shift 0. `he_fan_out` is for convolutions;
it fills dense layers as `he` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import init

from cnnctl.nets.spec import Init

GAUSSIAN_STD = 0.01  # Krizhevsky et al. 2012, section 5
LECUN_RANGE = 2.4  # LeCun et al. 1998, appendix A

Fill = Callable[[Tensor, int, int], object]  # weight, fan in, fan out
FILLS: dict[str, Fill] = {
    # He et al. 2015, equations 10 and 14: variance 2/fan keeps a signal alive through ReLU
    "he": lambda weight, fan_in, _: init.normal_(weight, 0, math.sqrt(2 / fan_in)),
    "he_fan_out": lambda weight, _, fan_out: init.normal_(weight, 0, math.sqrt(2 / fan_out)),
    # Glorot, Bengio 2010, equation 16
    "xavier": lambda weight, fan_in, fan_out: _uniform(weight, math.sqrt(6 / (fan_in + fan_out))),
    "gaussian": lambda weight, *_: init.normal_(weight, 0, GAUSSIAN_STD),
    "lecun": lambda weight, fan_in, _: _uniform(weight, LECUN_RANGE / fan_in),
}


def initialise(net: nn.Module, rule: Init) -> None:
    """Fill the weights of every convolution and dense layer of `net`; `torch` leaves them."""
    if rule == "torch" or any(parameter.is_meta for parameter in net.parameters()):
        return  # on meta there is nothing to fill
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            # ten classes instead of a thousand must not make the last layer ten times as loud
            forward = rule == "he_fan_out" and isinstance(layer, nn.Linear)
            FILLS["he" if forward else rule](layer.weight, *fans(layer))
            if layer.bias is not None:
                init.zeros_(layer.bias)


def fans(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> tuple[int, int]:
    """Values that one output sums up, and outputs that one input goes into."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    area = math.prod(layer.kernel_size)
    if isinstance(layer, nn.ConvTranspose2d):  # each output gets a part of the kernel
        shared = max(1, area // math.prod(layer.stride))
        return layer.in_channels * shared // layer.groups, layer.out_channels * area // layer.groups
    return layer.in_channels * area // layer.groups, layer.out_channels * area // layer.groups


def _uniform(weight: Tensor, limit: float) -> Tensor:
    return init.uniform_(weight, -limit, limit)
