"""Which parameters learn how fast, and which of them decay: the groups of torch.optim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from cnnctl.config import learning
from cnnctl.nets.net import Net
from cnnctl.nets.sizes import BATCH_NORM
from cnnctl.nets.stages import has_parameters, rows
from cnnctl.nets.taps import Tap

Share = Callable[[str], float]
Begins = Callable[[str], int | None]
NORMS = (
    BATCH_NORM, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
PRODUCTS = (nn.Linear, nn.modules.conv._ConvNd)  # noqa: SLF001 - of one, two and three dimensions


def build(
    net: Net, optimizer: learning.Optimizer, lr: float,
    share: Share = lambda _: 1.0, begins: Begins = lambda _: 0,
) -> list[dict[str, Any]]:  # fmt: skip
    """Groups with params, lr, weight_decay and name; parameters with equal numbers are one.

    `lr` is that of the last layer, which `optimizer.layer_decay` makes smaller towards the
    images. `share` says by which part of it the parameter of a name learns, and `begins` in which
    epoch: torch's fused rules take no group in which some have begun and others not. Frozen
    parameters are here, too: they may be let go later, and a resumed run finds the same groups.
    """
    depths = {} if optimizer.layer_decay is None else _depths(net)
    groups: dict[tuple[float, float, int | None], dict[str, Any]] = {}
    for name, parameter in net.named_parameters():
        place, _, own = name.rpartition(".")
        factor = share(name) * (optimizer.layer_decay or 1.0) ** depths.get(name, 0)
        decays = optimizer.decay_norms or _is_weight(net.get_submodule(place), own, parameter)
        decay = optimizer.weight_decay if decays else 0.0
        said = f"lr x {factor:g}, weight decay {decay:g}"
        fresh = {"params": [], "lr": lr * factor, "weight_decay": decay, "name": said}
        groups.setdefault((factor, decay, begins(name)), fresh)["params"].append(parameter)
    return list(groups.values())


def _is_weight(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Whether it is a weight of a convolution or a dense layer, or something like them.

    He et al. 2019 (Bag of Tricks, section 3.1), after Jia et al. 2018: biases and the scales
    and shifts of normalisation do not decay. Nor does one number per channel of any layer.
    """
    if isinstance(module, NORMS) or name == "bias":
        return False
    return isinstance(module, PRODUCTS) or sum(side > 1 for side in parameter.shape) > 1


def _depths(net: Net) -> dict[str, int]:
    """How many layers stand behind that of each parameter (Howard, Ruder 2018, section 3.2).

    A normalisation belongs to the layer that it follows. An auxiliary classifier is no layer on
    the way but a last one, and what is in no layer belongs to the first.
    """
    places: dict[str, int] = {}
    last, classifiers = -1, []
    for name, row in rows(net):
        if isinstance(row, nn.Parameter):
            places[name] = 0
        elif isinstance(row, Tap):
            classifiers += _names(name, row)
        elif has_parameters(row):
            last += last < 0 or not isinstance(row, NORMS)
            places |= dict.fromkeys(_names(name, row), last)
    return {name: last - place for name, place in places.items()} | dict.fromkeys(classifiers, 0)


def _names(name: str, layer: nn.Module) -> list[str]:
    """The names that the net has for the parameters of a layer; a tied one has several."""
    return [f"{name}.{own}" for own, _ in layer.named_parameters(remove_duplicate=False)]
