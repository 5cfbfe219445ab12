"""What may be configured about learning: update rules, and the learning rate over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cnnctl.config.duration import Duration
from cnnctl.config.fields import key


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What every optimizer has."""

    name: str = key("update rule")
    lr: float = key("learning rate at the reference batch", above=0)
    weight_decay: float = key("L2 penalty (adamw: decoupled decay)", min=0)
    scaling: Literal["none", "linear", "sqrt"] = key("how lr grows with the global batch")
    reference_batch: int = key("the global batch for which lr is meant", min=1)
    decay_norms: bool = key("weight decay of biases and normalisation, too")
    layer_decay: float | None = key(
        "lr of each layer as a share of the one behind it", above=0, max=1
    )


@dataclass(frozen=True, kw_only=True)
class Sgd(Optimizer):
    """Stochastic gradient descent (torch.optim.SGD)."""

    momentum: float = key("momentum", min=0, below=1)
    nesterov: bool = key("Nesterov's form of the momentum")


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma, Ba 2015) and, under the name adamw, AdamW (Loshchilov, Hutter 2019)."""

    betas: tuple[float, float] = key("decay of the two running means", min=0, below=1)
    eps: float = key("added to the denominator", above=0)


@dataclass(frozen=True, kw_only=True)
class RmsProp(Optimizer):
    """RMSprop (Tieleman, Hinton 2012)."""

    alpha: float = key("decay of the running mean of squares", min=0, below=1)
    eps: float = key("added to the denominator", above=0)
    momentum: float = key("momentum", min=0, below=1)
    centered: bool = key("normalise by the variance instead of the mean square")


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": Sgd, "adam": Adam, "adamw": Adam, "rmsprop": RmsProp,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What every schedule has; `constant` has nothing more."""

    name: str = key("shape of the learning rate over time")
    warmup: Duration = key("linear rise from 0 to lr at the start: 5epochs, 100steps or 10%")


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """lr x gamma every so many epochs."""

    every: int = key("epochs between two cuts", min=1)
    gamma: float = key("factor of a cut", above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class MultiStep(Schedule):
    """lr x gamma at each milestone."""

    milestones: tuple[int, ...] = key("epochs after which lr is cut", min=1)
    gamma: float = key("factor of a cut", above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from lr to lr x final (Loshchilov, Hutter 2017)."""

    final: float = key("last learning rate as a share of lr", min=0, max=1)


@dataclass(frozen=True, kw_only=True)
class Plateau(Schedule):
    """lr x gamma when the figure of val by which an epoch is judged has stopped rising.

    That is val/top1, of masks val/miou, of images that are made anew val/explained.
    """

    patience: int = key("epochs without a better val figure before a cut", min=0)
    gamma: float = key("factor of a cut", above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """A cosine rise during the warm-up, then a cosine fall (Smith, Topin 2018)."""

    start: float = key("first learning rate as a share of lr", above=0, max=1)
    final: float = key("last learning rate as a share of lr", min=0, max=1)


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Schedule, "step": Step, "multistep": MultiStep, "cosine": Cosine,
    "plateau": Plateau, "one_cycle": OneCycle,
}  # fmt: skip
