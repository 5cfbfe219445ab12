"""What can be said of a plan before its first step: what is refused, what is worth a line."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cnnctl.config import learning, rules_steps, schema
from cnnctl.config.masks import OfPixels
from cnnctl.errors import ConfigError, Problem
from cnnctl.plan import Plan


def check(train: schema.Train, plan: Plan) -> list[str]:
    """Lines that warn. Raises ConfigError for steps that cannot be made as they are wanted."""
    problems = [*rules_steps.alone(train.on_oom, plan.device.world), *_too_many(train, plan)]
    problems += _weights(train, plan)
    if problems:
        raise ConfigError(problems)
    return [*_whole(train, plan), *_rest(train, plan), *_cuts(train, plan)]


def _too_many(train: schema.Train, plan: Plan) -> Iterator[Problem]:
    """A step of more images than there are, although it is made in parts."""
    images, world, accumulate = _images(plan), plan.device.world, train.trainer.accumulate
    if plan.global_batch <= images or plan.global_batch == plan.batch_size:
        return
    factors = [f"data.batch_size={plan.batch_size}"]
    factors += [f"{world} devices"] * (world > 1)
    factors += [f"trainer.accumulate={accumulate}"] * (accumulate > 1)
    text = f"a step of {' x '.join(factors)} takes {plan.global_batch:,} images, "
    text += f"but there are {images:,} to train on"
    most = images // (world * accumulate)
    hint = f"at most data.batch_size={most}" if most else "fewer devices, or less to accumulate"
    yield Problem(text, hint, "data.batch_size")


def _weights(train: schema.Train, plan: Plan) -> Iterator[Problem]:
    """What a pixel counts, for another number of classes than there are."""
    loss, classes = train.loss, len(plan.classes)
    if isinstance(loss, OfPixels) and loss.weights is not None and len(loss.weights) != classes:
        text = f"loss.weights must have one number for each of {classes} classes, "
        text += f"got {len(loss.weights)}"
        yield Problem(text, ", ".join(plan.classes), "loss.weights")


def _whole(train: schema.Train, plan: Plan) -> Iterator[str]:
    """One batch that is larger than the set is the whole set; only its learning rate is not."""
    images = _images(plan)
    if plan.batch_size > images and train.optimizer.scaling != "none":
        text = f"data.batch_size={plan.batch_size}, but there are {images} images to train on: "
        yield text + f"the learning rate is scaled for {plan.batch_size}"


def _rest(train: schema.Train, plan: Plan) -> Iterator[str]:
    """Batches of an epoch that are too few for a step like the others."""
    accumulate, world = train.trainer.accumulate, plan.device.world
    images = math.ceil(_images(plan) / world)
    batches = math.ceil(images / plan.batch_size)
    left = batches % accumulate
    if left == 0 or plan.steps < plan.steps_per_epoch:
        return
    rest = world * (images - (batches - left) * plan.batch_size)
    text = f"trainer.accumulate={accumulate} does not divide the {batches} batches of an epoch: "
    few = "one image" if rest == 1 else f"{rest} images"
    yield text + f"its last step has {few} instead of {plan.global_batch}"


def _cuts(train: schema.Train, plan: Plan) -> Iterator[str]:
    """Cuts of the learning rate that trainer.max_steps leaves out."""
    schedule, per_epoch = train.schedule, plan.steps_per_epoch
    cuts: tuple[int, ...] = ()
    if isinstance(schedule, learning.Step):
        cuts = (schedule.every,)
    elif isinstance(schedule, learning.MultiStep):
        cuts = schedule.milestones
    missed = [cut for cut in cuts if cut * per_epoch >= plan.steps]
    if missed:
        epochs = ", ".join(str(cut) for cut in missed)
        text = f"trainer.max_steps={train.trainer.max_steps} ends the run in epoch {plan.epochs}: "
        yield text + f"the learning rate is not cut after epoch {epochs}"


def _images(plan: Plan) -> int:
    """That an epoch trains on."""
    return plan.sizes["train"] * plan.windows
