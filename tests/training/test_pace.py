"""How many batches come at a time."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import torch
from lightnings import MLP, Work, told, worker
from torch import Tensor

from cnnctl.data.module import DataModule
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.training import pace, schedules
from cnnctl.training.pace import Pace


@pytest.fixture
def worked(tmp_path, monkeypatch) -> Work:
    """Trains with so many batches at once."""
    return worker(tmp_path / "outputs", monkeypatch)


@pytest.mark.parametrize("chunk", [3, 32])
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 23])
def test_max_steps_ends_a_run_within_a_list_of_batches(prepare, worked, chunk, steps) -> None:
    job = prepare(*MLP, "trainer.max_epochs=3", f"trainer.max_steps={steps}")
    result, rows, _ = worked(job, 1)
    again, more, probe = worked(job, chunk)
    assert told(again) == told(result)
    assert again["steps"] == probe.steps[-1] == steps
    assert more == rows
    assert max(probe.lengths) <= chunk
    assert probe.lengths[:2] == [1, 1][:steps]
    assert int(rows[-1]["images"]) == min(64 * ((steps - 1) % 20 + 1), 1259)


@pytest.mark.parametrize("chunk", [1, 32])
@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_the_rate_of_an_epoch_is_that_of_its_last_step(prepare, worked, chunk, name) -> None:
    job = prepare(*MLP, "trainer.max_epochs=3", f"schedule={name}", "trainer.max_steps=43")
    _, rows, _ = worked(job, chunk)
    factor = schedules.factor(job.train.schedule, job.plan)
    expected = [job.plan.lr * factor(step - 1) for step in (20, 40, 43)]
    assert [float(row["lr"]) for row in rows] == pytest.approx(expected, rel=1e-5)


def test_the_memory_of_the_second_step_is_measured_just_the_same(prepare, worked) -> None:
    job = prepare(*MLP)
    single, several = (worked(job, chunk)[0]["memory"] for chunk in (1, 32))
    assert several["measured"] == pytest.approx(single["measured"], rel=1e-3)


def test_batches_come_one_by_one_where_each_is_seen(prepare, worked) -> None:
    job = prepare(*MLP)
    assert pace.fits(job.train, job.plan)
    for more in ("schedule=plateau", "hardware.precision=bf16-mixed", "trainer.clip=1"):
        other = prepare(*MLP, more)
        assert pace.fits(other.train, other.plan)
    for more in ("trainer.accumulate=3", "trainer.ema=0.9"):
        other = prepare(*MLP, more)
        assert not pace.fits(other.train, other.plan)
        _, _, probe = worked(other, 32)
        assert probe.lengths == [1] * 20


@pytest.mark.parametrize(("most", "lengths"), [(12, [1, 1, *[3] * 6]), (1, [1] * 20)])
def test_no_list_is_longer_than_a_quarter_of_the_steps_between_two_checkpoints(
    prepare, worked, most, lengths
) -> None:
    _, _, probe = worked(prepare(*MLP, f"checkpoint.every={most}steps"), 32)
    assert probe.lengths == lengths


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
    given = [batch(torch.zeros(64, 1, 32, 32))] * batches
    callback.on_train_batch_start(trainer, None, given, 0)
    callback.on_train_batch_end(trainer, None, None, given, 0)
    assert module.batches.chunk == (chunk if world == 1 else 5)
    callback.on_train_epoch_start(trainer, None)
    assert module.batches.chunk == (chunk if world == 1 else chunk + 100)


def test_an_empty_list_tells_nothing(prepare, monkeypatch) -> None:
    """It stands for an epoch that is complete, when a run is resumed there."""
    job = prepare(*MLP)
    callback, trainer = Pace(DataModule(job.source, job.train)), SimpleNamespace(world_size=1)
    callback.on_train_batch_start(trainer, None, [], 0)
    callback.on_train_batch_end(trainer, None, None, [], 0)
    assert callback.wanted == 1


def batch(images: Tensor) -> Batch:
    return Batch(images, torch.zeros(len(images)), Ticket(None, 0))  # pyright: ignore[reportArgumentType]


def test_large_images_come_one_batch_at_a_time(prepare, monkeypatch) -> None:
    job = prepare(*MLP)
    module = DataModule(job.source, job.train, chunked=True)
    module.train_dataloader()
    monkeypatch.setattr(pace.time, "perf_counter", iter([3.0, 3.000001]).__next__)
    callback, trainer = Pace(module), SimpleNamespace(world_size=1)
    given = [batch(torch.empty(256, 3, 224, 224, device="meta"))]
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
