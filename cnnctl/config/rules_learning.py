"""Rules between the keys of learning: the loss, the means of the weights and the learning rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config import learning as keys
from cnnctl.config.rules_augment import OWN_LOSS
from cnnctl.config.schema import Hardware, Trainer
from cnnctl.errors import ConfigError, Problem

SHORT = ("16-true", "bf16-true")  # numbers too short for the small steps of a running mean


def learning(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Every rule that the means of weights and the smoothing break, with what they need."""
    if "trainer" not in parts:
        return
    trainer: Trainer = parts["trainer"]
    yield from _means(trainer)
    if "model" in parts:
        yield from _smoothed(trainer, parts["model"])
    if "schedule" in parts:
        yield from _plateau(trainer, parts["schedule"])
    if "hardware" in parts:
        yield from _hardware(trainer, parts["hardware"])


def swa_begin(trainer: Trainer, *, per_epoch: int, steps: int) -> int | None:
    """The steps after which `swa` takes its first weights, at the end of that epoch or the next.

    Raises ConfigError if the run of `steps`, `per_epoch` in each epoch, leaves less than two to
    take the mean of.
    """
    if trainer.swa is None:
        return None
    begin = trainer.swa.steps(per_epoch=per_epoch, total=steps)
    last = (steps - 1) // per_epoch * per_epoch  # the end of the last epoch but one
    if begin > last or last == 0:
        raise ConfigError([_alone(trainer, f"the run has {steps} steps", last, "steps")])
    return begin


def _means(trainer: Trainer) -> Iterator[Problem]:
    if trainer.swa is None:
        if trainer.swa_lr is not None:
            text = f"trainer.swa_lr={trainer.swa_lr:g} has no effect without trainer.swa"
            yield Problem(text, "trainer.swa=75%, or trainer.swa_lr=null", "trainer.swa_lr")
        return
    if trainer.ema is not None:
        text = f"trainer.ema={trainer.ema:g} and trainer.swa={trainer.swa} are two means, "
        text += "and one net is measured"
        yield Problem(text, "set trainer.ema=null or trainer.swa=null", "trainer.ema")
    epochs = trainer.max_epochs
    whole = {"epochs": 1, "%": epochs / 100, "steps": 0}[trainer.swa.unit]
    if epochs == 1 or trainer.swa.amount * whole > epochs - 1:
        yield _alone(trainer, f"trainer.max_epochs is {epochs}", epochs - 1, "epochs")


def _alone(trainer: Trainer, length: str, most: int, unit: str) -> Problem:
    text = f"trainer.swa={trainer.swa} leaves no two epochs to take the mean of"
    end = f"at most {most}{unit}, or set trainer.swa=null" if most else "set trainer.swa=null"
    return Problem(text, f"{length}; {end}", "trainer.swa")


def _smoothed(trainer: Trainer, model: Mapping[str, Any]) -> Iterator[Problem]:
    """Labels are smoothed in cross-entropy."""
    family = model.get("family")
    if trainer.label_smoothing and family in OWN_LOSS:
        text = f"trainer.label_smoothing={trainer.label_smoothing:g} has no effect on {family}, "
        text += "which has a loss of its own"
        yield Problem(text, "set trainer.label_smoothing=0", "trainer.label_smoothing")


def _plateau(trainer: Trainer, schedule: keys.Schedule) -> Iterator[Problem]:
    """A plateau multiplies what there is, so no other rate can be set from a step on."""
    if trainer.swa is not None and trainer.swa_lr is not None and schedule.name == "plateau":
        text = f"trainer.swa_lr={trainer.swa_lr:g} does not go together with schedule=plateau"
        yield Problem(text, "set trainer.swa_lr=null, or schedule=cosine", "trainer.swa_lr")


def _hardware(trainer: Trainer, hardware: Hardware) -> Iterator[Problem]:
    chosen = [name for name in ("ema", "swa") if getattr(trainer, name) is not None]
    for name in chosen[:1]:
        given = f"trainer.{name}={getattr(trainer, name)}"
        if hardware.precision in SHORT:
            text = f"{given} needs 32 bits a weight, got hardware.precision={hardware.precision}"
            mixed = hardware.precision.replace("true", "mixed")
            hint = f"hardware.precision={mixed}, or trainer.{name}=null"
            yield Problem(text, hint, f"trainer.{name}")
