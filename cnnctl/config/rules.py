"""Rules between fields that each are fine alone; all that can be told without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config import learning, rules_learning
from cnnctl.config.images import Data, Digits, Folder
from cnnctl.config.masks import Shapes
from cnnctl.config.rules_augment import OWN_LOSS, augment
from cnnctl.config.rules_data import splits
from cnnctl.config.rules_hardware import hardware
from cnnctl.config.rules_masks import masks
from cnnctl.config.rules_published import published
from cnnctl.config.rules_reconstruct import reconstruct
from cnnctl.config.rules_steps import steps
from cnnctl.config.rules_transfer import transfer
from cnnctl.errors import Problem


def broken(parts: Mapping[str, Any]) -> list[Problem]:
    """Every rule that these sections of a configuration break; some may be missing."""
    problems = [*augment(parts), *masks(parts), *reconstruct(parts), *transfer(parts)]
    if "data" in parts:
        problems += _data(parts["data"])
        problems += [*published(parts["data"]), *splits(parts["data"])]
    if "optimizer" in parts:
        problems += _optimizer(parts["optimizer"])
    if "optimizer" in parts and "model" in parts:
        problems += _perceptron(parts["model"], parts["optimizer"])
    if "data" in parts and "model" in parts:
        problems += _weighed(parts["data"], parts["model"])
    if "schedule" in parts and "trainer" in parts:
        problems += _time(parts["schedule"], parts["trainer"].max_epochs)
    problems += [*steps(parts), *rules_learning.learning(parts)]
    problems += hardware(parts)
    return problems


def _data(data: Data) -> Iterator[Problem]:
    for name in ("mean", "std"):
        given = getattr(data, name)
        if len(given) != data.channels:
            text = f"data.{name} must have one number per channel, got {list(given)}"
            yield Problem(text, f"data.channels is {data.channels}", f"data.{name}")
    if isinstance(data, (Digits, Shapes)) and data.val_fraction + data.test_fraction >= 1:
        text = "data.val_fraction and data.test_fraction leave nothing to train on"
        yield Problem(text, "their sum must be below 1", "data.val_fraction")
    if isinstance(data, Folder) and data.on_error == "skip" and not data.verify:
        text = "data.on_error=skip has no effect with data.verify=false"
        yield Problem(text, "set data.verify=true", "data.on_error")


def _optimizer(optimizer: learning.Optimizer) -> Iterator[Problem]:
    if isinstance(optimizer, learning.Sgd) and optimizer.nesterov and optimizer.momentum == 0:
        text = "optimizer.nesterov=true needs momentum, got optimizer.momentum=0"
        yield Problem(text, "set optimizer.momentum=0.9", "optimizer.nesterov")


def _weighed(data: Data, model: dict[str, Any]) -> Iterator[Problem]:
    """Class weights are those of cross-entropy."""
    family = model.get("family")
    if data.balance == "loss" and family in OWN_LOSS:
        text = f"data.balance=loss has no effect on {family}, which has a loss of its own"
        yield Problem(text, "data.balance=sample", "data.balance")


def _perceptron(model: dict[str, Any], optimizer: learning.Optimizer) -> Iterator[Problem]:
    """Its loss makes plain gradient descent Rosenblatt's rule; any other optimizer is not his."""
    if model.get("family") != "perceptron":
        return
    if not isinstance(optimizer, learning.Sgd) or optimizer.momentum or optimizer.weight_decay:
        text = "the perceptron learns by its own rule, w += lr·(d − y)·x: plain sgd"
        keys = "optimizer=sgd optimizer.momentum=0 optimizer.weight_decay=0"
        yield Problem(text, f"recipe=perceptron_digits, or {keys}", "optimizer")


def _time(schedule: learning.Schedule, epochs: int) -> Iterator[Problem]:
    warmup = schedule.warmup
    if warmup.unit == "epochs" and warmup.amount > epochs:
        text = f"schedule.warmup={warmup} is longer than the training"
        yield Problem(text, f"trainer.max_epochs is {epochs}", "schedule.warmup")
    if isinstance(schedule, learning.MultiStep):
        milestones = schedule.milestones
        if list(milestones) != sorted(set(milestones)):
            text = f"schedule.milestones must rise, got {list(milestones)}"
            yield Problem(text, key="schedule.milestones")
        if milestones and milestones[-1] >= epochs:
            text = f"schedule.milestones: epoch {milestones[-1]} is never reached"
            yield Problem(text, f"trainer.max_epochs is {epochs}", "schedule.milestones")
    if isinstance(schedule, learning.Step) and schedule.every >= epochs:
        text = f"schedule.every={schedule.every}: the first cut is never reached"
        yield Problem(text, f"trainer.max_epochs is {epochs}", "schedule.every")
