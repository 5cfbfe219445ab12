from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from cnnctl.training import schedules

EPOCHS = ("trainer.max_epochs=5", "data.batch_size=630")  # five epochs of two steps
LR = 0.5


def optimizer() -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=LR)


def rates(job, measured: list[float] | None = None) -> list[float]:
    """The learning rate that each step of the job uses, as a share of the first one given."""
    rule = optimizer()
    entries: list[Any] = list(schedules.build(job.train.schedule, rule, job.plan))
    used = []
    for step in range(job.plan.steps):
        used.append(rule.param_groups[0]["lr"] / LR)
        rule.step()
        for entry in entries:
            if entry["interval"] == "step":
                entry["scheduler"].step()
            elif (step + 1) % job.plan.steps_per_epoch == 0:
                entry["scheduler"].step((measured or [])[step // job.plan.steps_per_epoch])
    return used


def half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def test_constant_stays(prepare) -> None:
    assert rates(prepare(*EPOCHS, "schedule=constant")) == [1] * 10


def test_step_cuts_every_so_many_epochs(prepare) -> None:
    job = prepare(*EPOCHS, "schedule=step", "schedule.every=2", "schedule.gamma=0.5")
    assert rates(job) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_multistep_cuts_at_the_milestones(prepare) -> None:
    job = prepare(*EPOCHS, "schedule=multistep", "schedule.milestones=[1,4]", "schedule.gamma=0.5")
    assert rates(job) == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_cosine_falls_to_its_last_share(prepare) -> None:
    job = prepare(*EPOCHS, "schedule=cosine", "schedule.final=0.2")
    assert rates(job) == pytest.approx([half_cosine(1, 0.2, step / 10) for step in range(10)])
    assert schedules.factor(job.train.schedule, job.plan)(10) == pytest.approx(0.2)
    assert schedules.factor(job.train.schedule, job.plan)(11) == pytest.approx(0.2)


WARM = ("schedule.warmup=4steps",)
RISE = [0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    ("overrides", "after"),
    [
        (["schedule=constant"], [1] * 6),
        (["schedule=step", "schedule.every=3", "schedule.gamma=0.5"], [1, 1, 0.5, 0.5, 0.5, 0.5]),
        (
            ["schedule=multistep", "schedule.milestones=[1,4]", "schedule.gamma=0.5"],
            [0.5, 0.5, 0.5, 0.5, 0.25, 0.25],
        ),
        (["schedule=cosine"], [half_cosine(1, 0, step / 6) for step in range(6)]),
        (["schedule=plateau"], [1] * 6),
    ],
)
def test_a_warmup_rises_in_equal_parts_and_then_gives_way(prepare, overrides, after) -> None:
    job = prepare(*EPOCHS, *overrides, *WARM)
    rising = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert rates(job, rising) == pytest.approx(RISE + after)


@pytest.mark.parametrize("name", ["constant", "cosine", "plateau"])
def test_a_warmup_may_fill_the_run(prepare, name) -> None:
    job = prepare(*EPOCHS, f"schedule={name}", "schedule.warmup=100%")
    found = rates(job, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert found == pytest.approx([(step + 1) / 11 for step in range(10)])


def test_one_cycle_rises_and_falls_along_cosines(prepare) -> None:
    job = prepare(*EPOCHS, "schedule=one_cycle", "schedule.warmup=4steps")
    rise = [half_cosine(0.04, 1, step / 4) for step in range(4)]
    fall = [half_cosine(1, 0.0001, step / 6) for step in range(6)]
    assert rates(job) == pytest.approx(rise + fall)


def test_one_cycle_is_near_that_of_torch(prepare) -> None:
    job = prepare("trainer.max_epochs=20", "data.batch_size=64", "schedule=one_cycle")
    rule = optimizer()
    theirs = OneCycleLR(rule, max_lr=LR, total_steps=400, pct_start=0.3, final_div_factor=400)
    expected = []
    for _ in range(400):
        expected.append(rule.param_groups[0]["lr"] / LR)
        rule.step()
        theirs.step()
    assert rates(job) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("measured", "epochs"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.9], [1, 1, 1, 1, 1]),
        ([0.5, 0.5, 0.5, 0.5, 0.5], [1, 1, 1, 0.1, 0.1]),
        ([0.5, 0.4, 0.6, 0.6, 0.5], [1, 1, 1, 1, 1]),
        ([0.9, 0.1, 0.2, 0.3, 0.4], [1, 1, 1, 0.1, 0.1]),
        ([0.5, 0.5, 0.51, 0.5, 0.5], [1, 1, 1, 1, 1]),
    ],
)
def test_plateau_cuts_after_patience_epochs_without_a_better_top1(
    prepare, measured, epochs
) -> None:
    job = prepare(*EPOCHS, "schedule=plateau", "schedule.patience=1")
    expected = [share for share in epochs for _ in range(2)]
    assert rates(job, measured) == pytest.approx(expected)


def test_a_plateau_cut_within_the_warmup_is_not_undone(prepare) -> None:
    job = prepare(*EPOCHS, "schedule=plateau", "schedule.patience=0", *WARM)
    cut = [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    whole = [*RISE, 1, 1, 1, 1, 1, 1]
    expected = [rise * share for rise, share in zip(whole, cut, strict=True)]
    assert rates(job, [0.5] * 5) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["constant", "step", "multistep", "cosine", "one_cycle"])
def test_a_schedule_is_a_pure_function_of_the_step(prepare, name) -> None:
    short = {"step": ("schedule.every=2",), "multistep": ("schedule.milestones=[2]",)}
    job = prepare(*EPOCHS, f"schedule={name}", *short.get(name, ()))
    shape = schedules.factor(job.train.schedule, job.plan)
    forwards = [shape(step) for step in range(10)]
    assert [shape(step) for step in reversed(range(10))] == forwards[::-1]
    assert rates(job) == pytest.approx(forwards)


def test_training_uses_the_schedule_once_per_optimizer_step(train) -> None:
    job, folder, _ = train(
        "data.batch_size=210", "trainer.accumulate=4", "trainer.max_epochs=3", "schedule=cosine"
    )
    assert job.plan.steps == 6
    rows = (folder / "metrics.csv").read_text().splitlines()[1:]
    used = [float(row.split(",")[2]) / job.plan.lr for row in rows]
    assert used == pytest.approx([half_cosine(1, 0, step / 6) for step in (1, 3, 5)], abs=1e-5)


def test_training_cuts_on_the_plateau_of_val_top1(train) -> None:
    _, folder, _ = train(
        "trainer.max_epochs=3", "schedule=plateau", "schedule.patience=0", "data.batch_size=1259",
        "optimizer=sgd", "optimizer.lr=1e-6",
    )  # fmt: skip
    rows = (folder / "metrics.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[2]) for row in rows] == pytest.approx([1e-6, 1e-6, 1e-7])
