"""Parts that several families use, looked up by the names that stand in the YAML files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn
from torch.func import functional_call

from cnnctl.errors import NetError

Activation = Literal["tanh", "sigmoid", "relu", "leaky_relu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU,
}  # fmt: skip

Pool = Literal["avg", "max"]
POOLS: dict[str, type[nn.Module]] = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}

Layers = OrderedDict[str, nn.Module]


def flat_features(features: Layers, shape: tuple[int, int, int]) -> int:
    """Values per image after `features` on an input of `shape` (C, H, W).

    Calls the layers on the meta device: no weight is touched and no number computed.
    Raises NetError, naming the layer, if what reaches it is too small.
    """
    value = torch.empty(1, *shape, device="meta")
    for name, layer in features.items():
        state = {key: tensor.to("meta") for key, tensor in layer.state_dict().items()}
        try:
            value = functional_call(layer, state, (value,))
        except RuntimeError as wrong:
            left = "x".join(str(size) for size in value.shape[1:])
            text = f"layer '{name}' cannot work on {left}, left of a {shape[1]}x{shape[2]} image"
            raise NetError(text, "use larger images: data.size=…") from wrong
    return value[0].numel()


def dense(widths: Iterable[int], c_in: int, activation: str, first: int = 1) -> tuple[Layers, int]:
    """Hidden dense layers f<first>, f<first+1>, … with their activations, and the last width."""
    layers: Layers = OrderedDict()
    for number, width in enumerate(widths, start=first):
        layers[f"f{number}"] = nn.Linear(c_in, width)
        layers[f"f{number}_act"] = ACTIVATIONS[activation]()
        c_in = width
    return layers, c_in
