"""Update rules by name, from torch.optim."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn, optim

from cnnctl.config import learning

Build = Callable[..., optim.Optimizer]
OPTIMIZERS: dict[str, Build] = {
    "sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop,
}  # fmt: skip
FUSED = {"sgd", "adam", "adamw"}  # one kernel per step instead of several per parameter


def build(
    optimizer: learning.Optimizer, parameters: Iterable[nn.Parameter], lr: float, *, fused: bool
) -> optim.Optimizer:
    """The optimizer with the learning rate of the plan.

    `fused` uses torch's one-kernel step where the rule has one. It cannot go together with
    gradient clipping under a loss scaler (16-mixed), so the caller decides.
    """
    own = {"name", "lr", "scaling", "reference_batch", "decay_norms", "layer_decay"}
    options: dict[str, Any] = {
        name: value for name, value in vars(optimizer).items() if name not in own
    }
    if fused and optimizer.name in FUSED:
        options["fused"] = True
    return OPTIMIZERS[optimizer.name](parameters, lr=lr, **options)
