"""The plan: all that is decided before the first step, printed first and saved as plan.json."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from cnnctl import devices, nets, transfer
from cnnctl.audit import document, step
from cnnctl.audit.forward import forward
from cnnctl.config import learning, rules_learning, schema
from cnnctl.config.masks import Loss, OfPixels
from cnnctl.data.source import Feed, Source
from cnnctl.devices import Device
from cnnctl.errors import ConfigError, NetError, Problem
from cnnctl.nets import meta
from cnnctl.nets.net import Net
from cnnctl.nets.segmenter import Criterion, Segmenter
from cnnctl.nets.spec import Spec
from cnnctl.transfer import Regime


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every number that the configuration, the net, the data and the machine decide.

    `images` is another text if the images are others. `params` and `macs` (multiply-adds) are
    those of one image; `windows` is how often an epoch sees each of them, `steps` are optimizer
    steps; `lr` is the learning rate after `scaling` with the global batch. `memory` is what one
    step on one device will take, predicted: see `audit.document.training_memory`.
    """

    model: str
    params: int
    macs: int
    shape: tuple[int, int, int]
    data: str
    classes: tuple[str, ...]
    sizes: dict[str, int]
    images: str
    skipped: dict[str, str]
    feeds: dict[str, Feed]
    augment: str
    windows: int
    epochs: int
    steps_per_epoch: int
    steps: int
    batch_size: int
    global_batch: int
    optimizer: str
    lr: float
    scaling: str | None
    schedule: str
    warmup_steps: int
    device: Device
    seed: int
    pretrained: dict[str, Any] | None
    transfer: Regime | None
    memory: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """The plan as plan.json holds it."""
        return asdict(self)


def make(
    train: schema.Train, spec: Spec, source: Source, pretrained: dict[str, Any] | None = None,
    criterion: Callable[[Loss, Segmenter], Criterion | None] = lambda *_: None,
) -> Plan:  # fmt: skip
    """Decide everything. Raises ConfigError or NetError if it cannot run here.

    `pretrained` says which weights the net starts from, `criterion` builds the loss of pixels.
    """
    device = devices.settle(train.hardware)
    shape = (train.data.channels, train.data.size, train.data.size)
    with meta.device():
        net = nets.build(spec, num_classes=len(source.classes), shape=shape)
        _judged(net, train, len(source.classes), criterion)
    regime = transfer.settle(train, net, source, pretrained["new"] if pretrained else ())
    if regime is not None:
        transfer.freeze(net, regime)
    images = math.ceil(source.sizes["train"] * train.data.repeats / device.world)
    batches = math.ceil(images / train.data.batch_size)
    per_epoch = math.ceil(batches / train.trainer.accumulate)
    steps = min(train.trainer.max_epochs * per_epoch, train.trainer.max_steps or 2**63)
    rules_learning.swa_begin(train.trainer, per_epoch=per_epoch, steps=steps)
    global_batch = train.data.batch_size * device.world * train.trainer.accumulate
    how = setting(train, device, images)
    memory = document.training_memory(how, step.measure(net, shape, how))
    if images % train.data.batch_size == 1 and steps >= per_epoch:
        _last(net, shape, replace(how, batch_size=1))
    return Plan(
        model=spec.name, params=sum(value.numel() for value in net.parameters()),
        macs=sum(forward(net, shape).walk.macs.values()), shape=shape,
        data=train.data.name, classes=source.classes, sizes=source.sizes,
        images=source.digest(), skipped=source.skipped, feeds=source.feeds,
        augment=train.augment.name, windows=train.data.repeats,
        epochs=math.ceil(steps / per_epoch), steps_per_epoch=per_epoch, steps=steps,
        batch_size=train.data.batch_size, global_batch=global_batch,
        optimizer=train.optimizer.name, lr=scaled(train.optimizer, global_batch),
        scaling=_scaling(train.optimizer), schedule=train.schedule.name,
        warmup_steps=_warmup(train.schedule, per_epoch, steps),
        device=device, seed=train.seed, pretrained=pretrained, transfer=regime,
        memory=memory,
    )  # fmt: skip


def _judged(
    net: Net, train: schema.Train, classes: int,
    criterion: Callable[[Loss, Segmenter], Criterion | None],
) -> None:  # fmt: skip
    """Give a net the loss of training, whose memory is a part of a step's."""
    loss = train.loss
    own = isinstance(loss, OfPixels) and loss.weights is not None
    if own or train.data.balance == "loss":
        net.class_weights = torch.empty(classes)
    if isinstance(net, Segmenter):
        net.criterion = criterion(loss, net)
        net.planes = 1 + (isinstance(loss, OfPixels) and loss.border is not None)


def setting(train: schema.Train, device: Device, images: int) -> step.Setting:
    """How a step is made of the images that a process has in an epoch."""
    return step.Setting(
        min(train.data.batch_size, images), train.optimizer, device.precision,
        accelerator=device.accelerator, channels_last=train.trainer.channels_last,
        accumulate=train.trainer.accumulate, devices=device.world,
        clip=train.trainer.clip is not None, figures=True,
    )  # fmt: skip


def _last(net: Net, shape: tuple[int, int, int], setting: step.Setting) -> None:
    """Raise NetError if the one image that is left for the last batch is too few."""
    try:
        step.measure(net, shape, setting)
    except NetError as wrong:
        text = f"one image is left for the last batch of an epoch, and {wrong.message}"
        raise NetError(text, "another data.batch_size") from wrong


def scaled(optimizer: learning.Optimizer, global_batch: int) -> float:
    """The learning rate for this global batch.

    linear: lr x batch / reference (Goyal et al. 2017, section 2.1); sqrt: its square root
    (Krizhevsky 2014, section 5).
    """
    ratio = global_batch / optimizer.reference_batch
    return (
        optimizer.lr * {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[optimizer.scaling]
    )


def _scaling(optimizer: learning.Optimizer) -> str | None:
    """The rule in words, if there is one."""
    if optimizer.scaling == "none":
        return None
    return f"{optimizer.scaling} from {optimizer.lr:g} at batch {optimizer.reference_batch}"


def _warmup(schedule: learning.Schedule, per_epoch: int, steps: int) -> int:
    warmup = schedule.warmup.steps(per_epoch=per_epoch, total=steps)
    if warmup > steps:
        text = f"schedule.warmup={schedule.warmup} is longer than the {steps} steps of the run"
        raise ConfigError([Problem(text, key="schedule.warmup")])
    return warmup
