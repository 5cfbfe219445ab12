"""When a step does not fit into memory: what the device has, and the largest batch that does."""

from __future__ import annotations

import math
from dataclasses import replace

from cnnctl import nets, transfer
from cnnctl.audit import budget
from cnnctl.audit.document import Subject
from cnnctl.config import schema
from cnnctl.errors import NetError, TrainingError
from cnnctl.nets import meta
from cnnctl.nets.net import Net
from cnnctl.nets.spec import Spec
from cnnctl.plan import Plan, setting
from cnnctl.tasks.gradient import SPLIT, has_batchnorm

NOTHING = "a smaller data.size, another net, or hardware.precision=bf16-mixed"


def tight(plan: Plan, has: int) -> str | None:
    """One line if a step is predicted to take more than `has` bytes, which are left for tensors.

    Before the first step, because the kernel of a full machine ends a process without a word.
    """
    need = plan.memory["peak"]
    reserve = budget.reserve(need, plan.device.accelerator, None)
    return None if need + reserve <= has else _told(plan, has)


def advice(train: schema.Train, spec: Spec, plan: Plan, has: int) -> TrainingError:
    """What to say of a step that ran out of memory; `has` bytes were left before the run."""
    images = plan.memory["batch_size"]
    text = f"out of memory: {_told(plan, has)}"
    fits = min(largest(train, spec, plan, has), images - 1)
    if fits == 0:
        return TrainingError(text, NOTHING)
    batch_size, accumulate = parts(images * train.trainer.accumulate, fits)
    hint = f"data.batch_size={batch_size} trainer.accumulate={accumulate}"
    if plan.device.world == 1 and train.on_oom == "stop":
        hint += ", or on_oom=split"
    if has_batchnorm(_net(spec, plan)):
        hint += f"; {SPLIT}"
    return TrainingError(text, hint)


def largest(train: schema.Train, spec: Spec, plan: Plan, has: int) -> int:
    """The most images that a device takes at a time, with gradients that add up; 0 for none.

    By prediction; where that has promised too much, half of what did not fit.
    """
    subject = Subject(spec.name, _net(spec, plan), plan.shape)
    as_planned = setting(train, plan.device, plan.memory["batch_size"])
    how = replace(as_planned, accumulate=max(2, train.trainer.accumulate))
    try:
        (found,) = budget.fits(subject, how, {"": has}, None)
    except NetError:
        return 0
    return how.batch_size // 2 if found["fits"] else found["batch_size"]


def parts(images: int, most: int) -> tuple[int, int]:
    """`images` of a step as (batch_size, accumulate), with at most `most` in a batch.

    Whole parts if that takes no more than twice as many of them; otherwise there are a few
    images more in a step.
    """
    least = math.ceil(images / most)
    whole = (count for count in range(least, 2 * least + 1) if images % count == 0)
    count = next(whole, least)
    return math.ceil(images / count), count


def size(bytes_: int) -> str:
    """In GB or MB (10^9 or 10^6 bytes)."""
    return f"{bytes_ / 1e9:.1f} GB" if bytes_ >= 1e9 else f"{bytes_ / 1e6:.0f} MB"  # noqa: PLR2004


def _net(spec: Spec, plan: Plan) -> Net:
    """Without weights; what is frozen stays so."""
    with meta.device():
        net = nets.build(spec, num_classes=len(plan.classes), shape=plan.shape)
    if plan.transfer is not None:
        transfer.freeze(net, plan.transfer)
    return net


def _what(plan: Plan) -> str:
    """The memory, as it is called."""
    device = plan.device
    if device.accelerator == "gpu":
        return f"the GPU ({device.name})"
    return "this machine's memory" if device.world == 1 else "one process's share of the memory"


def _told(plan: Plan, has: int) -> str:
    images = plan.memory["batch_size"]
    step = "one image" if images == 1 else f"{images} images"
    takes = size(plan.memory["peak"])
    return f"a step on {step} takes {takes}, as predicted, and {_what(plan)} has {size(has)} left"
