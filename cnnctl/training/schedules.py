"""Learning-rate schedules, each a pure function of the step.

A pure function needs no memory, so a resumed run is on the same learning rate without
replaying a step. The plateau alone depends on what has been measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pytorch_lightning.utilities.types import LRSchedulerConfigType
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, ReduceLROnPlateau

from cnnctl.config import learning, rules_learning, schema
from cnnctl.plan import Plan

Shape = Callable[[int], float]


def build(
    schedule: learning.Schedule,
    optimizer: Optimizer,
    plan: Plan,
    trainer: schema.Trainer | None = None,
) -> list[LRSchedulerConfigType]:
    """The schedule as Lightning wants it: one entry, or two for a plateau with a warm-up.

    It multiplies the rate of every group of parameters, so what they are to each other stays.
    """
    if isinstance(schedule, learning.Plateau):
        return _plateau(schedule, optimizer, plan.warmup_steps)
    scheduler = LambdaLR(optimizer, factor(schedule, plan, trainer))
    return [LRSchedulerConfigType(scheduler=scheduler, interval="step")]


def factor(
    schedule: learning.Schedule, plan: Plan, trainer: schema.Trainer | None = None
) -> Shape:  # fmt: skip
    """lr(step) / lr for a schedule that is a pure function of the step.

    With `trainer.swa_lr` it is that rate from the step on with which `trainer.swa` begins.
    """
    shape = _factor(schedule, plan)
    if trainer is None or trainer.swa_lr is None:
        return shape
    share = trainer.swa_lr / plan.lr
    begin = rules_learning.swa_begin(trainer, per_epoch=plan.steps_per_epoch, steps=plan.steps)
    assert begin is not None  # a rule: no swa_lr without swa
    return lambda step: share if step >= begin else shape(step)


def _factor(schedule: learning.Schedule, plan: Plan) -> Shape:
    warmup, steps = plan.warmup_steps, plan.steps
    if isinstance(schedule, learning.OneCycle):
        rising = _cosine(schedule.start, 1, 0, warmup)
        falling = _cosine(1, schedule.final, warmup, steps)
        return lambda step: rising(step) if step < warmup else falling(step)
    after = _after(schedule, warmup, steps, plan.steps_per_epoch)
    return lambda step: (step + 1) / (warmup + 1) if step < warmup else after(step)


def _after(schedule: learning.Schedule, warmup: int, steps: int, per_epoch: int) -> Shape:
    """The shape once the warm-up is over."""
    if isinstance(schedule, learning.Cosine):
        return _cosine(1, schedule.final, warmup, steps)
    if isinstance(schedule, learning.Step):
        return lambda step: schedule.gamma ** (step // per_epoch // schedule.every)
    if isinstance(schedule, learning.MultiStep):
        marks = [milestone * per_epoch for milestone in schedule.milestones]
        return lambda step: schedule.gamma ** sum(step >= mark for mark in marks)
    return lambda _: 1.0


def _cosine(first: float, last: float, begin: int, end: int) -> Shape:
    """Half a cosine from `first` at step `begin` to `last` at step `end`."""

    def shape(step: int) -> float:
        share = min(1.0, (step - begin) / max(1, end - begin))
        return last + (first - last) * (1 + math.cos(math.pi * share)) / 2

    return shape


def _plateau(
    schedule: learning.Plateau, optimizer: Optimizer, warmup: int
) -> list[LRSchedulerConfigType]:
    """Both multiply the current learning rate, so neither undoes the other."""
    plateau = ReduceLROnPlateau(
        optimizer,
        mode="max",
        factor=schedule.gamma,
        patience=schedule.patience,
        threshold=0,
        eps=0,  # or small rates would stay, and groups drift apart
    )
    watched = LRSchedulerConfigType(scheduler=plateau, interval="epoch")  # the task steps it
    if warmup == 0:
        return [watched]
    rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return [LRSchedulerConfigType(scheduler=rise, interval="step"), watched]
