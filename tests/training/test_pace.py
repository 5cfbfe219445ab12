from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from cnnctl import runs, weights
from cnnctl.data.module import DataModule
from cnnctl.training import pace, schedules, trainer
from cnnctl.training.pace import Pace
from cnnctl.training.trainer import Job

MLP = ("model=mlp", "model.hidden=[8]")
TIMES = {"seconds", "images_per_second", "waiting"}


class Probe(pl.Callback):
    """Notes how many batches come at once, and how many steps have been made after them."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.steps: list[int] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *hook: Any) -> None:
        _, _, batches, _ = hook
        self.lengths.append(len(batches))
        self.steps.append(trainer.global_step)


@pytest.fixture
def worked(tmp_path, monkeypatch):
    """Trains with so many batches at once, or with Lightning making every step (0)."""

    def work(job: Job, chunk: int) -> tuple[dict[str, Any], list[dict[str, str]], Probe]:
        monkeypatch.setattr(pace, "SPAN", 1e9)
        monkeypatch.setattr(pace, "MOST", chunk)
        folder, probe = runs.create(str(tmp_path / "outputs"), "train", "run"), Probe()
        with monkeypatch.context() as patch:
            if chunk == 0:
                patch.setattr(pace, "fits", lambda *_: False)
            result = trainer.fit(job, folder, [probe])
        with (folder / "metrics.csv").open(encoding="utf-8") as file:
            rows = [
                {name: value for name, value in row.items() if name not in TIMES}
                for row in csv.DictReader(file)
            ]
        last = weights.read(folder / "checkpoints/last.ckpt")
        assert result["weights_sha256"] == weights.sha256(last.weights)
        return result, rows, probe

    return work


def told(result: dict[str, Any]) -> tuple[Any, ...]:
    """What must not depend on how the steps are made."""
    return tuple(result[name] for name in ("weights_sha256", "best", "val", "test", "steps"))


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=adam", "schedule=cosine", "schedule.warmup=5steps"),
        ("optimizer=sgd", "optimizer.nesterov=true", "trainer.clip=0.05"),
        ("optimizer=sgd", "schedule=one_cycle", "schedule.warmup=30%", "augment=flip_crop"),
        ("optimizer=rmsprop", "schedule=multistep", "schedule.milestones=[1]"),
        ("model=lenet5", "hardware.precision=bf16-mixed", "augment=none"),
        ("hardware.precision=bf16-mixed", "optimizer=adamw", "data.balance=loss"),
        ("augment.mixup=0.4", "data.balance=sample", "schedule=constant"),
    ],
    ids=" ".join,
)
def test_the_weights_are_those_of_lightnings_own_steps(prepare, worked, overrides) -> None:
    job = prepare(*MLP, "trainer.max_epochs=2", *overrides)
    result, rows, probe = worked(job, 0)
    assert set(probe.lengths) == {1}
    several, more, probe = worked(job, 8)
    assert probe.lengths == [1, 1, 8, 8, 2, 8, 8, 4]
    assert told(several) == told(result)
    assert more == rows


def test_a_deep_net_is_trained_to_the_same_bits_too(prepare, worked) -> None:
    small = ("model=resnet20", "data.size=16", "trainer.max_steps=6")
    job = prepare(*small, "optimizer=sgd", "data.batch_size=16", "hardware.precision=bf16-mixed")
    first, second = worked(job, 0), worked(job, 4)
    assert told(first[0]) == told(second[0])
    assert second[2].lengths == [1, 1, 4]


@pytest.mark.parametrize("chunk", [1, 3, 32])
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 23])
def test_max_steps_ends_a_run_within_a_list_of_batches(prepare, worked, chunk, steps) -> None:
    job = prepare(*MLP, "trainer.max_epochs=3", f"trainer.max_steps={steps}")
    result, rows, _ = worked(job, 0)
    again, more, probe = worked(job, chunk)
    assert told(again) == told(result)
    assert again["steps"] == probe.steps[-1] == steps
    assert more == rows
    assert max(probe.lengths) <= chunk
    assert probe.lengths[:2] == [1, 1][:steps]
    assert int(rows[-1]["images"]) == min(64 * ((steps - 1) % 20 + 1), 1259)


@pytest.mark.parametrize("chunk", [0, 1, 32])
@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_the_rate_of_an_epoch_is_that_of_its_last_step(prepare, worked, chunk, name) -> None:
    job = prepare(*MLP, "trainer.max_epochs=3", f"schedule={name}", "trainer.max_steps=43")
    _, rows, _ = worked(job, chunk)
    factor = schedules.factor(job.train.schedule, job.plan)
    expected = [job.plan.lr * factor(step - 1) for step in (20, 40, 43)]
    assert [float(row["lr"]) for row in rows] == pytest.approx(expected, rel=1e-5)


def test_the_memory_of_the_second_step_is_measured_just_the_same(prepare, worked) -> None:
    job = prepare(*MLP)
    single, several = (worked(job, chunk)[0]["memory"] for chunk in (0, 32))
    assert several["measured"] == pytest.approx(single["measured"], rel=1e-3)


def changed(job: Job, **device: Any) -> Any:
    return replace(job.plan, device=replace(job.plan.device, **device))


def test_what_lightning_does_between_batches_is_left_to_it(prepare) -> None:
    job = prepare(*MLP)
    assert pace.fits(job.train, job.plan)
    assert pace.fits(job.train, changed(job, precision="bf16-mixed"))
    assert pace.fits(job.train, changed(job, devices=2))
    assert not pace.fits(job.train, changed(job, precision="16-mixed"))
    for more in ("trainer.accumulate=2", "schedule=plateau"):
        other = prepare(*MLP, more)
        assert not pace.fits(other.train, other.plan)


@pytest.mark.parametrize("overrides", [("trainer.accumulate=3",), ("schedule=plateau",)])
def test_their_batches_come_one_by_one(prepare, worked, overrides) -> None:
    _, _, probe = worked(prepare(*MLP, *overrides), 32)
    assert probe.lengths == [1] * 20


@pytest.mark.parametrize(
    ("batches", "seconds", "chunk"),
    [(1, 10, 1), (1, 0.05, 1), (1, 0.024, 2), (2, 0.01, 10), (4, 0.002, 32), (1, 1e-6, 32)],
)
@pytest.mark.parametrize("world", [1, 2])
def test_as_many_come_at_once_as_fill_a_moment(
    prepare, monkeypatch, batches, seconds, chunk, world
) -> None:
    job = prepare(*MLP)
    module = DataModule(job.source, job.train, chunked=True)
    module.train_dataloader()
    module.chunk(5)
    monkeypatch.setattr(pace.time, "perf_counter", iter([3.0, 3.0 + seconds]).__next__)
    first = SimpleNamespace(broadcast=lambda value: value + 100)  # what the first process wants
    callback, trainer = Pace(module), SimpleNamespace(world_size=world, strategy=first)
    given = [(torch.zeros(64, 1, 32, 32), None)] * batches
    callback.on_train_batch_start(trainer, None, given, 0)
    callback.on_train_batch_end(trainer, None, None, given, 0)
    assert module.batches.chunk == (chunk if world == 1 else 5)
    callback.on_train_epoch_start(trainer, None)
    assert module.batches.chunk == (chunk if world == 1 else chunk + 100)


def test_large_images_come_one_batch_at_a_time(prepare, monkeypatch) -> None:
    job = prepare(*MLP)
    module = DataModule(job.source, job.train, chunked=True)
    module.train_dataloader()
    monkeypatch.setattr(pace.time, "perf_counter", iter([3.0, 3.000001]).__next__)
    callback, trainer = Pace(module), SimpleNamespace(world_size=1)
    given = [(torch.empty(256, 3, 224, 224, device="meta"), None)]
    callback.on_train_batch_start(trainer, None, given, 0)
    callback.on_train_batch_end(trainer, None, None, given, 0)
    assert module.batches.chunk == 1


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_net_learns_the_same_and_is_saved_as_any_other(prepare, worked) -> None:
    results = []
    for on in ("false", "true"):
        job = prepare("trainer.max_steps=22", "trainer.max_epochs=2", f"trainer.compile={on}")
        results.append(worked(job, 4)[0])
    plain, compiled = results
    assert compiled["val"]["loss"] == pytest.approx(plain["val"]["loss"], rel=1e-2)
    assert compiled["steps"] == plain["steps"] == 22
    torch._dynamo.reset()
