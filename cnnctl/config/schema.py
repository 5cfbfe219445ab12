"""What may be configured: one frozen dataclass per section, one field per key.

A field carries its help text and its range, so that the reader can check a value and
`cnnctl VERB --help` can explain it. The values themselves stand in conf/ alone: a key has
no second default here. Names are looked up in the plain dicts OPTIMIZERS, SCHEDULES, DATA
and LOGGERS; nothing in a YAML file can name code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from cnnctl.config.duration import Duration, Interval
from cnnctl.config.fields import key, section
from cnnctl.config.images import DATA as IMAGES
from cnnctl.config.images import Augment, Data
from cnnctl.config.learning import OPTIMIZERS, SCHEDULES, Optimizer, Schedule
from cnnctl.config.masks import LOSSES, MASKS, Loss

DATA: dict[str, type[Data]] = {**IMAGES, **MASKS}

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
    strategy: Literal["auto", "ddp", "fsdp"] = key("how several devices work together")
    sync_batchnorm: bool = key("batch statistics over all devices; needs GPUs")
    deterministic: bool = key("on a GPU: only kernels that give the same bits each time")
    matmul: Literal["highest", "high", "medium"] = key("precision of float32 products on a GPU")


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How long, and how a step is made."""

    max_epochs: int = key("passes over the training images", min=1)
    max_steps: int | None = key("stop after this many optimizer steps", min=1)
    clip: float | None = key("largest norm of the gradient", above=0)
    accumulate: int = key("batches whose gradients add up to one step", min=1)
    channels_last: bool = key("keep the channels of a pixel side by side: faster convolutions")
    compile: bool = key("let torch.compile write kernels for the net: slow to start")
    label_smoothing: float = key("share of a label given to all classes alike", min=0, below=1)
    ema: float | None = key(
        "decay of a running mean of the weights, which is measured", above=0, below=1
    )
    test_flip: bool = key("val and test: mean of the logits of an image and its mirror image")
    swa: Duration | None = key("from here on the mean of the weights after each epoch: 75%")
    swa_lr: float | None = key(
        "learning rate while swa takes its mean; null: the schedule's", above=0
    )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When last.ckpt is written, from which a run resumes."""

    every: Interval = key("at least so often: 200steps, 5min or 1epoch")


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Which layers of a net with weights from elsewhere learn, and how fast."""

    name: Literal["none", "auto", "feature_extract", "finetune_top", "finetune_all"] = key("regime")
    freeze_until: str | None = key("layers before this one do not learn; null: as the regime says")
    backbone_lr: float = key(
        "learning rate of layers that are not new, as a share of lr", above=0, max=1
    )
    freeze_norm: bool = key("batch norms of frozen layers keep their statistics")
    unfreeze_every: int | None = key(
        "epochs after which one more stage learns; null: all at once", min=1
    )


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
    on_nan: Literal["stop", "rollback"] = key("rollback: undo the step, skip its batch, halve lr")
    on_oom: Literal["stop", "split"] = key("out of memory: split makes the step in smaller parts")
    pretrained: str | None = key("weights to start from: torchvision, timm, a file or a run")
    pretrained_layers: tuple[str, ...] | None = key("take these layers alone, also of another net")
    trainer: Trainer = field(metadata={"help": "how long, and how a step is made"})
    model: dict[str, Any] = field(metadata={"help": "the net: the numbers of its paper's table"})
    data: Data = section("the images", DATA)
    augment: Augment = field(metadata={"help": "random changes of a training image"})
    loss: Loss = section("what training makes small", LOSSES)
    optimizer: Optimizer = section("the update rule", OPTIMIZERS)
    schedule: Schedule = section("the learning rate over time", SCHEDULES)
    hardware: Hardware = field(metadata={"help": "where to run, in Lightning's words"})
    checkpoint: Checkpoint = field(metadata={"help": "when the run can be resumed from"})
    transfer: Transfer = field(metadata={"help": "which layers of a pre-trained net learn"})
    logger: Logger = section("where the metrics go besides metrics.csv", LOGGERS)


# Sections whose keys depend on their name: a choice of an option, not a value to be set.
VARIANTS = tuple(item.name for item in fields(Train) if "variants" in item.metadata)
