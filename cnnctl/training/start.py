"""From a job to what Lightning is handed: the net as it starts, its task, its update rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from cnnctl import nets, pretrained, transfer
from cnnctl.audit import update
from cnnctl.config import schema
from cnnctl.config.masks import OfPixels
from cnnctl.data import balance
from cnnctl.data.module import DataModule
from cnnctl.data.order import Ticket
from cnnctl.data.pairs import Pairs, pixels
from cnnctl.data.prepare import Prepare
from cnnctl.data.reading import Reader, Whole
from cnnctl.data.source import Source
from cnnctl.nets import meta
from cnnctl.nets.net import Net
from cnnctl.nets.segmenter import Segmenter
from cnnctl.nets.spec import Spec
from cnnctl.plan import Plan
from cnnctl.pretrained import Start
from cnnctl.tasks import gradient, losses
from cnnctl.tasks.classify import Classify
from cnnctl.tasks.reconstruct import Reconstruct
from cnnctl.tasks.segment import Segment
from cnnctl.tasks.steps import Configure
from cnnctl.tasks.task import Task
from cnnctl.training import groups, optimizers, schedules, trouble

TASKS: dict[str, type[Task]] = {
    "classify": Classify, "segment": Segment, "reconstruct": Reconstruct,
}  # fmt: skip


class Job(NamedTuple):
    """A configuration, as composed and as read, and all that follows from it."""

    config: dict[str, Any]
    train: schema.Train
    spec: Spec
    source: Source
    plan: Plan
    start: Start | None


def net(job: Job, *, new: bool) -> Net:
    """The net as it starts, laid out and compiled as the configuration says.

    Unless it is `new` its weights are going to be those of a checkpoint.
    """
    train, plan = job.train, job.plan
    made = nets.build(job.spec, num_classes=len(plan.classes), shape=plan.shape)
    if new and made.SAMPLE:
        made.prepare(sample(job, made.SAMPLE))
    if new and job.start is not None:
        pretrained.load(made, job.start)
    made.class_weights = _class_weights(job)
    if isinstance(made, Segmenter):
        made.criterion = losses.build(train.loss, made)
    made.label_smoothing = train.trainer.label_smoothing
    if plan.device.precision == "64-true":
        made.double()  # Lightning converts it after it has read a checkpoint
    if plan.transfer is not None:
        transfer.freeze(made, plan.transfer)
    several = plan.device.world > 1  # then gradients must lie as the weights do
    if train.trainer.channels_last and (plan.device.accelerator != "cpu" or several):
        # a CPU copies the weights in every step, which takes it no longer than to find them turned
        made.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's annotation lacks it
    if train.trainer.compile:
        made.compile()
    return made


def _class_weights(job: Job) -> Tensor | None:
    """What an image, or a pixel, of each class counts."""
    loss, data, classes = job.train.loss, job.train.data, len(job.plan.classes)
    if isinstance(loss, OfPixels) and loss.weights is not None:
        return torch.tensor(loss.weights)
    if data.balance != "loss":
        return None
    train = job.source.splits["train"]
    if isinstance(train, Pairs):
        return torch.from_numpy(balance.of_counts(pixels(train, classes))).float()
    return torch.from_numpy(balance.weights(train.labels, classes)).float()


def has_batchnorm(job: Job) -> bool:
    """Whether a layer takes statistics over the images that go through the net together."""
    plan = job.plan
    with meta.device():
        made = nets.build(job.spec, num_classes=len(plan.classes), shape=plan.shape)
    return gradient.has_batchnorm(made)


def sample(job: Job, count: int) -> torch.Tensor:
    """So many training images, at equal distances, as the net sees them without random changes."""
    images, train = job.source.splits["train"], job.train
    most = len(images.labels)
    places = np.linspace(0, most - 1, min(count, most)).astype(np.int64)
    pixels = Reader(images, Whole(train.data.size), train.seed).batch(Ticket(places, None))
    return Prepare(train, len(job.plan.classes))(pixels).images


def task(
    job: Job, run: Path, module: DataModule, notice: Callable[[str], None], *, new: bool
) -> Task:
    """What trains the net, told what to do when something goes wrong."""
    train, classes = job.train, len(job.plan.classes)
    start = net(job, new=new)
    own = {"deviation": train.data.std} if start.TASK == "reconstruct" else {}
    made = TASKS[start.TASK](
        start, classes, configure(job), mirror=train.trainer.test_flip,
        clip=train.trainer.clip, rollback=train.on_nan == "rollback", split=train.on_oom == "split",
        steps=job.plan.steps, sharded=job.plan.device.strategy == "fsdp", **own,
    )  # fmt: skip
    made.notice = made.gradient.notice = notice
    made.gradient.again = module.again
    if job.plan.device.strategy != "fsdp" and not train.hardware.sync_batchnorm:
        # their layers wait for other processes, which may not have to look for anything
        made.explain = trouble.explainer(made, module, job.source, run)
    return made


def configure(job: Job) -> Configure:
    """The optimizer and its schedule, once the parameters are on their device."""
    train, plan = job.train, job.plan

    def made(learner: Net) -> OptimizerLRScheduler:
        device, clip = plan.device, train.trainer.clip is not None
        how = update.loop(train.optimizer, device.precision, device.accelerator, clip=clip)
        regime = plan.transfer
        found = groups.build(learner, train.optimizer, plan.lr)
        if regime is not None:
            share, begins = regime.share, regime.begins
            found = groups.build(learner, train.optimizer, plan.lr, share, begins)
        optimizer = optimizers.build(train.optimizer, found, plan.lr, fused=how == "fused")
        # Lightning takes typed dicts here; its own annotation names the resolved class only
        return [optimizer], schedules.build(train.schedule, optimizer, plan, train.trainer)  # pyright: ignore[reportReturnType]

    return made
