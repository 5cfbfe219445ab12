"""Learning rates of several groups of parameters, and that of weights that are averaged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from cnnctl.errors import ConfigError
from cnnctl.training import schedules

EPOCHS = ("trainer.max_epochs=5", "data.batch_size=630")  # five epochs of two steps
RATES = (0.5, 0.05, 0.5e-9)  # the last one is below what torch takes for no change


def rates(job, measured: list[float] | None = None) -> list[list[float]]:
    """The learning rates of three groups in each step of the job."""
    rule = SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in RATES])
    entries: list[Any] = list(
        schedules.build(job.train.schedule, rule, job.plan, job.train.trainer)
    )
    used = []
    for step in range(job.plan.steps):
        used.append([group["lr"] for group in rule.param_groups])
        rule.step()
        for entry in entries:
            if entry["interval"] == "step":
                entry["scheduler"].step()
            elif (step + 1) % job.plan.steps_per_epoch == 0:
                entry["scheduler"].step((measured or [])[step // job.plan.steps_per_epoch])
    return used


def shares(job) -> list[float]:
    """What the schedule makes of the learning rate in each step."""
    shape = schedules.factor(job.train.schedule, job.plan, job.train.trainer)
    return [shape(step) for step in range(job.plan.steps)]


@pytest.mark.parametrize(
    "words",
    [
        ("schedule=constant", "schedule.warmup=4steps"),
        ("schedule=step", "schedule.every=1", "schedule.gamma=0.1"),
        ("schedule=multistep", "schedule.milestones=[1,4]"),
        ("schedule=cosine", "schedule.final=0.01"),
        ("schedule=one_cycle",),
        ("schedule=plateau", "schedule.patience=0"),
        ("schedule=plateau", "schedule.patience=0", "schedule.warmup=5steps"),
        ("schedule=cosine", "trainer.swa=50%", "trainer.swa_lr=0.01"),
    ],
)
def test_groups_keep_their_ratios(prepare, words) -> None:
    found = rates(prepare(*EPOCHS, *words), [0.5, 0.4, 0.6, 0.6, 0.5])
    assert len({one[0] for one in found}) > 1
    for one in found:
        parts = [rate / first for rate, first in zip(one, RATES, strict=True)]
        assert parts == pytest.approx([parts[0]] * 3, rel=1e-12)


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle"])
def test_a_rate_for_the_mean_holds_from_its_first_step_to_the_end(prepare, name) -> None:
    words = (*EPOCHS, f"schedule={name}")
    plain = shares(prepare(*words))
    job = prepare(*words, "trainer.swa=3epochs", "trainer.swa_lr=0.0015")
    share = 0.0015 / job.plan.lr
    assert shares(job) == [*plain[:6], *[share] * 4]
    assert [one[0] for one in rates(job)] == pytest.approx([s * RATES[0] for s in shares(job)])


def test_without_a_rate_of_its_own_the_mean_changes_no_schedule(prepare) -> None:
    words = (*EPOCHS, "schedule=cosine")
    assert shares(prepare(*words, "trainer.swa=50%")) == shares(prepare(*words))
    assert shares(prepare(*words, "trainer.ema=0.9")) == shares(prepare(*words))


def test_what_leaves_no_two_epochs_is_refused(prepare) -> None:
    with pytest.raises(ConfigError) as caught:
        shares(prepare(*EPOCHS, "trainer.swa=9steps", "trainer.swa_lr=0.1"))
    (problem,) = caught.value.problems
    assert problem.key == "trainer.swa"
