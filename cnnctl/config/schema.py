"""What may be configured: one frozen dataclass per section, one field per key.

A field carries its help text and its range, so that the reader can check a value and
`cnnctl VERB --help` can explain it. The values themselves stand in conf/ alone: a key has
no second default here. Names are looked up in the plain dicts OPTIMIZERS, SCHEDULES, DATA
and LOGGERS; nothing in a YAML file can name code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from cnnctl.config.duration import Duration
from cnnctl.config.fields import key, section
from cnnctl.config.images import DATA, Augment, Data


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What every optimizer has."""

    name: str = key("update rule")
    lr: float = key("learning rate at the reference batch", above=0)
    weight_decay: float = key("L2 penalty (adamw: decoupled decay)", min=0)
    scaling: Literal["none", "linear", "sqrt"] = key("how lr grows with the global batch")
    reference_batch: int = key("the global batch for which lr is meant", min=1)


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
    """lr x gamma when val/top1 has stopped rising."""

    patience: int = key("epochs without a better val/top1 before a cut", min=0)
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


Precision = Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where to run, in pytorch-lightning's words."""

    name: str = key("name of the hardware")
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = key("kind of device")
    devices: int | tuple[int, ...] | Literal["auto"] = key(
        "how many, or which, devices on each node", min=0
    )
    num_nodes: int = key("machines that train together", min=1)
    precision: Precision = key("number format of weights and arithmetic")
    strategy: Literal["auto", "ddp"] = key("how several devices work together")


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How long, and how a step is made."""

    max_epochs: int = key("passes over the training images", min=1)
    max_steps: int | None = key("stop after this many optimizer steps", min=1)
    clip: float | None = key("largest norm of the gradient", above=0)
    accumulate: int = key("batches whose gradients add up to one step", min=1)
    channels_last: bool = key("keep the channels of a pixel side by side: faster convolutions")
    compile: bool = key("let torch.compile write kernels for the net: slow to start")


@dataclass(frozen=True, kw_only=True)
class Logger:
    """What every logger has; metrics.csv in the run folder is always written."""

    name: str = key("where the metrics go besides metrics.csv")


@dataclass(frozen=True, kw_only=True)
class Wandb(Logger):
    """Weights & Biases."""

    project: str = key("project on wandb")
    entity: str | None = key("user or team on wandb; null: the login's own")
    mode: Literal["auto", "online", "offline"] = key("auto: online with a login and a network")
    group: str | None = key("name under which wandb groups runs")
    tags: tuple[str, ...] = key("tags on wandb")


LOGGERS: dict[str, type[Logger]] = {"local": Logger, "wandb": Wandb}


@dataclass(frozen=True, kw_only=True)
class Train:
    """Everything that `cnnctl train` composes."""

    seed: int = key("fixes initial weights, order and augmentation", min=0, max=2**32 - 1)
    outputs: str = key("the folder that holds all runs")
    progress: Literal["auto", "rich", "plain", "none"] = key("what is shown while it runs")
    pretrained: str | None = key("weights to start from: torchvision, timm, a file or a run")
    trainer: Trainer = field(metadata={"help": "how long, and how a step is made"})
    model: dict[str, Any] = field(metadata={"help": "the net: the numbers of its paper's table"})
    data: Data = section("the images", DATA)
    augment: Augment = field(metadata={"help": "random changes of a training image"})
    optimizer: Optimizer = section("the update rule", OPTIMIZERS)
    schedule: Schedule = section("the learning rate over time", SCHEDULES)
    hardware: Hardware = field(metadata={"help": "where to run, in Lightning's words"})
    logger: Logger = section("where the metrics go besides metrics.csv", LOGGERS)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What `cnnctl evaluate` adds to the configuration of the run."""

    split: Literal["train", "val", "test"] = key("which images")
    checkpoint: str = key("best, last or a file")


# Sections whose keys depend on their name: a choice of an option, not a value to be set.
VARIANTS = tuple(item.name for item in fields(Train) if "variants" in item.metadata)
