"""Parts that several families use, looked up by the names that stand in the YAML files.

Nothing works in place: what a layer gives stays as it was, for hooks that look at it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cnnctl.nets.sizes import walk


class ScaledTanh(nn.Module):
    """A tanh(S a) with A = 1.7159, S = 2/3 (LeCun et al. 1998, appendix A)."""

    def forward(self, value: Tensor) -> Tensor:
        """(…) -> (…); f(1) = 1 and f(−1) = −1."""
        return 1.7159 * torch.tanh(value * 2 / 3)


Activation = Literal[
    "relu", "leaky_relu", "relu6", "elu", "gelu", "silu", "tanh", "scaled_tanh", "sigmoid", "none"
]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "relu6": nn.ReLU6, "elu": nn.ELU,
    "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "scaled_tanh": ScaledTanh,
    "sigmoid": nn.Sigmoid, "none": nn.Identity,
}  # fmt: skip

Pool = Literal["avg", "max"]
POOLS: dict[str, type[nn.MaxPool2d | nn.AvgPool2d]] = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}

Norm = Literal["none", "batch", "group"]
GROUP = 16  # channels of one group of group normalisation (Wu, He 2018, table 3)

Layers = OrderedDict[str, nn.Module]


def normalisation(kind: str, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """The layer of a Norm on `channels`; `momentum` is torch's, the share of the new batch."""
    if kind == "batch":
        return nn.BatchNorm2d(channels, eps, momentum)
    if kind == "group":
        groups = max(1, channels // GROUP)
        return nn.GroupNorm(groups if channels % groups == 0 else 1, channels, eps)
    return nn.Identity()


def unit(  # noqa: PLR0913 - the numbers of one convolution
    name: str, c_in: int, c_out: int, kernel: int | tuple[int, int], *,
    stride: int = 1, padding: int | tuple[int, int] | None = None, groups: int = 1,
    norm: str = "none", activation: str = "relu", eps: float = 1e-5, momentum: float = 0.1,
    bias: bool | None = None,
) -> Layers:  # fmt: skip
    """A convolution `name`, then `name_norm` and `name_act` where there are any.

    Padding is half the kernel unless given ("same" at stride 1); a bias stands where no
    normalisation follows, unless `bias` says otherwise.
    """
    if padding is None:
        high, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        padding = (high // 2, wide // 2)
    plain = norm == "none"
    layers: Layers = OrderedDict()
    layers[name] = nn.Conv2d(
        c_in, c_out, kernel, stride, padding, groups=groups, bias=plain if bias is None else bias
    )
    if not plain:
        layers[f"{name}_norm"] = normalisation(norm, c_out, eps, momentum)
    if activation != "none":
        layers[f"{name}_act"] = ACTIVATIONS[activation]()
    return layers


def activated(name: str, channels: int, norm: str, activation: str) -> Layers:
    """`name`_norm and `name`_act, which stand before the layer `name` in pre-activation nets."""
    layers: Layers = OrderedDict()
    if norm != "none":
        layers[f"{name}_norm"] = normalisation(norm, channels)
    if activation != "none":
        layers[f"{name}_act"] = ACTIVATIONS[activation]()
    return layers


class Lrn(nn.LocalResponseNorm):
    """b = a / (k + alpha Σ a²)^beta over `size` neighbouring channels.

    Krizhevsky et al. 2012, section 3.3. Torch, like Caffe, divides alpha by `size`; the paper
    does not.
    """

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2
    ) -> None:
        super().__init__(size, alpha * size, beta, k)


class Residual(nn.Module):
    """act(branch(x) + shortcut(x)) (He et al. 2016, equations 1 and 2)."""

    def __init__(
        self, branch: nn.Module, shortcut: nn.Module | None = None, act: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.act = nn.Identity() if act is None else act

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return self.act(self.branch(value) + self.shortcut(value))


class Concat(nn.ModuleDict):
    """Parallel branches on one input, their channels side by side."""

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, sum of the branches' channels, H', W')."""
        return torch.cat([branch(value) for branch in self.values()], 1)


class Gate(nn.Module):
    """x · gate(x), one factor per channel: squeeze and excitation (Hu et al. 2018, figure 2)."""

    def __init__(
        self, channels: int, squeezed: int, activation: str = "relu", gate: str = "sigmoid"
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.act = ACTIVATIONS[activation]()
        self.excite = nn.Conv2d(squeezed, channels, 1)
        self.gate = ACTIVATIONS[gate]()

    def forward(self, value: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return value * self.gate(self.excite(self.act(self.squeeze(self.pool(value)))))


def scaled(channels: int, width: float) -> int:
    """`channels` times `width` in the nearest multiple of 8 that loses less than a tenth.

    The authors of MobileNetV2 and EfficientNet round so. A width of 1 changes nothing.
    """
    if width == 1:
        return channels
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels * width else rounded + 8


def flat_features(features: Layers, shape: tuple[int, int, int]) -> int:
    """Values per image after `features` on an input of `shape` (C, H, W).

    Raises NetError, naming the layer, if what reaches it is too small.
    """
    return walk(nn.Sequential(features), shape).numel()


def dense(
    widths: Iterable[int], c_in: int, activation: str, first: int = 1, dropout: float = 0
) -> tuple[Layers, int]:
    """Hidden dense layers f<first>, f<first+1>, … with their activations, and the last width.

    `dropout` is the share of the activations that training sets to 0, after each of them.
    """
    layers: Layers = OrderedDict()
    for number, width in enumerate(widths, start=first):
        layers[f"f{number}"] = nn.Linear(c_in, width)
        layers[f"f{number}_act"] = ACTIVATIONS[activation]()
        if dropout:
            layers[f"f{number}_drop"] = nn.Dropout(dropout)
        c_in = width
    return layers, c_in


def classifier(  # noqa: PLR0913 - the numbers of the dense layers
    hidden: Sequence[int], c_in: int, num_classes: int, *,
    first: int, activation: str, dropout: float, dropout_on: str = "outputs",
) -> Layers:  # fmt: skip
    """Dense layers fc<first>, fc<first+1>, … on the flattened maps; the last one gives the logits.

    `dropout` is the share of the hidden layers' inputs or outputs that training sets to 0.
    """
    layers: Layers = OrderedDict(flatten=nn.Flatten())
    for number, width in enumerate(hidden, start=first):
        if dropout and dropout_on == "inputs":
            layers[f"fc{number}_drop"] = nn.Dropout(dropout)
        layers[f"fc{number}"] = nn.Linear(c_in, width)
        if activation != "none":
            layers[f"fc{number}_act"] = ACTIVATIONS[activation]()
        if dropout and dropout_on == "outputs":
            layers[f"fc{number}_drop"] = nn.Dropout(dropout)
        c_in = width
    layers[f"fc{first + len(hidden)}"] = nn.Linear(c_in, num_classes)
    return layers


def head(c_in: int, num_classes: int, dropout: float = 0, name: str = "fc") -> Layers:
    """Global average pooling and one dense layer `name`."""
    layers: Layers = OrderedDict(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    if dropout:
        layers["drop"] = nn.Dropout(dropout)
    layers[name] = nn.Linear(c_in, num_classes)
    return layers
