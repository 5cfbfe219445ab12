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
PLANNED = {"name", "lr", "scaling", "reference_batch"}  # what is in the learning rate of the plan
GROUPED = {"decay_norms", "layer_decay"}  # what is in the groups


def build(
    optimizer: learning.Optimizer,
    groups: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    lr: float,
    *,
    fused: bool,
) -> optim.Optimizer:
    """The optimizer with the learning rate of the plan, which each group of parameters may change.

    `fused` uses torch's one-kernel step where the rule has one. It cannot go together with
    gradient clipping under a loss scaler (16-mixed), so the caller decides.
    """
    own = PLANNED | GROUPED
    options: dict[str, Any] = {
        name: value for name, value in vars(optimizer).items() if name not in own
    }
    if fused and optimizer.name in FUSED:
        options["fused"] = True
    return OPTIMIZERS[optimizer.name](groups, lr=lr, **options)
