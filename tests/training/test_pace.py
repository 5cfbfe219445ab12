"""Steps that the task makes against Lightning's own: the same bits, however many come at once."""

from __future__ import annotations

import csv
import shutil
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from cnnctl import runs, weights
from cnnctl.data.module import DataModule
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.tasks.tally import Tally, means
from cnnctl.training import engine, pace, schedules, trainer
from cnnctl.training.noise import quiet
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


class Oracle(pl.LightningModule):
    """The task as Lightning's manual has it: a training_step that gives the loss.

    Lightning makes the steps, accumulates, clips and moves the schedule. What a net draws has
    the seed of its batch here too, and a part counts by its images.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self.net = trainer._net(job, new=True)
        self.rows: list[dict[str, float]] = []
        self.tally = self.counted = Tally(torch.device("cpu"))

    def configure_optimizers(self) -> Any:
        made: Any = trainer._configure(self.job.train, self.job.plan)(self.net)
        for entry in made[1]:
            if isinstance(entry["scheduler"], torch.optim.lr_scheduler.ReduceLROnPlateau):
                entry["monitor"] = "val/top1"
        return made

    def measured(self, batch: Batch) -> Tensor:
        images, labels, _ = batch
        logits = self.net(images)
        logits, outputs = (logits[0] if isinstance(logits, tuple) else logits), logits
        loss = self.net.loss(outputs, labels)
        self.tally.add(loss, logits, labels)
        return loss

    def training_step(self, batches: list[Batch], _: int) -> Tensor:
        (batch,) = batches
        torch.manual_seed(batch.ticket.word)
        share = len(batch.images) / batch.ticket.images
        return self.measured(batch) * (share * self.trainer.accumulate_grad_batches)

    def validation_step(self, batches: list[Batch], _: int) -> None:
        self.measured(batches[0])

    def on_train_epoch_start(self) -> None:
        self.tally = self.counted = Tally(self.device)

    def on_validation_epoch_start(self) -> None:
        self.tally = Tally(self.device)

    def on_validation_epoch_end(self) -> None:
        classes = len(self.job.plan.classes)
        val, train = means(self.tally.sums, classes), means(self.counted.sums, classes)
        both = {"train": train, "val": val}
        self.rows.append({f"{k}/{name}": v for k, row in both.items() for name, v in row.items()})
        self.log("val/top1", val["top1"])


def lightnings(job: Job) -> tuple[str, list[dict[str, float]]]:
    """The hash of the last weights, and the figures of each epoch."""
    train, plan = job.train, job.plan
    pl.seed_everything(train.seed, workers=True, verbose=False)
    oracle = Oracle(job)
    with quiet():
        engine.build(
            plan.device,
            max_epochs=plan.epochs, max_steps=plan.steps, logger=False,
            gradient_clip_val=train.trainer.clip,
            accumulate_grad_batches=train.trainer.accumulate,
        ).fit(oracle, DataModule(job.source, train))  # fmt: skip
    return weights.sha256(oracle.net.state_dict()), oracle.rows


@pytest.fixture
def worked(tmp_path, monkeypatch):
    """Trains with so many batches at once."""

    def work(job: Job, chunk: int) -> tuple[dict[str, Any], list[dict[str, str]], Probe]:
        monkeypatch.setattr(pace, "SPAN", 1e9)
        monkeypatch.setattr(pace, "MOST", chunk)
        folder, probe = runs.create(str(tmp_path / "outputs"), "train", "run"), Probe()
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


def agree(rows: list[dict[str, str]], wanted: list[dict[str, float]]) -> None:
    """Figures of all epochs, to the six digits of metrics.csv."""
    assert len(rows) == len(wanted)
    for row, figures in zip(rows, wanted, strict=True):
        assert {name: row[name] for name in figures} == {
            name: f"{value:.6g}" for name, value in figures.items()
        }


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=adam", "schedule=cosine", "schedule.warmup=5steps"),
        ("optimizer=sgd", "optimizer.nesterov=true", "trainer.clip=0.05"),
        ("optimizer=sgd", "schedule=one_cycle", "schedule.warmup=30%", "augment=flip_crop"),
        ("optimizer=rmsprop", "schedule=multistep", "schedule.milestones=[1]"),
        ("model=lenet5", "hardware.precision=bf16-mixed", "augment=none"),
        ("hardware.precision=bf16-mixed", "trainer.clip=0.1", "data.balance=loss"),
        ("augment.mixup=0.4", "data.balance=sample", "schedule=constant"),
    ],
    ids=" ".join,
)
def test_the_weights_are_those_of_lightnings_own_steps(prepare, worked, overrides) -> None:
    mlp = () if any(one.startswith("model=") for one in overrides) else MLP
    job = prepare(*mlp, "trainer.max_epochs=2", *overrides)
    result, rows, probe = worked(job, 8)
    expected, figures = lightnings(job)
    assert result["weights_sha256"] == expected
    agree(rows, figures)
    assert probe.lengths == [1, 1, 8, 8, 2, 8, 8, 4]


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.accumulate=2", "schedule=cosine"),
        ("trainer.accumulate=2", "trainer.clip=0.05", "optimizer=sgd"),
        ("trainer.accumulate=4", "hardware.precision=bf16-mixed", "model=lenet5"),
        ("trainer.accumulate=8", "optimizer=adamw"),  # the last step has four batches
        ("schedule=plateau", "schedule.patience=0", "optimizer.lr=0.3", "trainer.max_epochs=4"),
        ("schedule=plateau", "schedule.patience=0", "optimizer.lr=0.3", "schedule.warmup=7steps"),
    ],
    ids=" ".join,
)
def test_so_they_are_with_parts_of_steps_and_with_a_plateau(prepare, worked, overrides) -> None:
    job = prepare(*MLP[: 2 * ("model=lenet5" not in overrides)], "trainer.max_epochs=2", *overrides)
    result, rows, _ = worked(job, 8)
    expected, figures = lightnings(job)
    assert result["weights_sha256"] == expected
    agree(rows, figures)


def test_a_net_that_draws_has_the_same_bits_too(prepare, worked) -> None:
    small = ("model=keras_cnn", "data.batch_size=16", "trainer.max_steps=8", "data.size=16")
    job = prepare(*small, "augment=none", "model.dropout=0.5")
    result, _, probe = worked(job, 8)
    assert any(isinstance(layer, torch.nn.Dropout) for layer in trainer._net(job, new=True))
    assert result["weights_sha256"] == lightnings(job)[0]
    assert probe.lengths == [1, 1, 8]  # and six steps of the last list


def test_a_deep_net_is_trained_to_the_same_bits_too(prepare, worked) -> None:
    small = ("model=resnet20", "data.size=16", "trainer.max_steps=6")
    job = prepare(*small, "optimizer=sgd", "data.batch_size=16", "hardware.precision=bf16-mixed")
    first, second = worked(job, 1), worked(job, 4)
    assert told(first[0]) == told(second[0])
    assert first[0]["weights_sha256"] == lightnings(job)[0]
    assert second[2].lengths == [1, 1, 4]


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


@pytest.mark.parametrize(("most", "lengths"), [(5, [1, 1, 5, 5, 5, 3]), (1, [1] * 20)])
def test_no_list_is_longer_than_the_steps_between_two_checkpoints(
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
