from __future__ import annotations

import copy
import csv
import math
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cnnctl import nets, runs, weights
from cnnctl.commands import job as jobs
from cnnctl.data.module import DataModule
from cnnctl.errors import RunError
from cnnctl.nets.net import Net
from cnnctl.tasks.classify import Classify
from cnnctl.training import callbacks, engine, noise
from cnnctl.training.callbacks import EpochRecord


@pytest.fixture(scope="module")
def done(train):
    """Four epochs with a rate that rises from good to far too high."""
    rising = ("schedule=constant", "schedule.warmup=100%", "optimizer.lr=0.5")
    return train("trainer.max_epochs=4", *rising)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_epoch_has_one_complete_row(done) -> None:
    found = rows(done.folder)
    assert list(found[0]) == [
        "epoch", "step", "lr", "train/loss", "train/top1", "train/top5", "val/loss", "val/top1",
        "val/top5", "images", "seconds", "images_per_second", "waiting",
    ]  # fmt: skip
    assert [(row["epoch"], row["step"], row["images"]) for row in found] == [
        (str(epoch), str(20 * epoch), "1259") for epoch in (1, 2, 3, 4)
    ]
    for epoch, row in enumerate(found, start=1):
        numbers = {name: float(value) for name, value in row.items()}
        assert numbers["lr"] == pytest.approx(0.5 * 20 * epoch / 81, rel=1e-5)
        assert 0 < numbers["train/top1"] <= numbers["train/top5"] <= 1
        assert numbers["images_per_second"] == pytest.approx(1259 / numbers["seconds"], rel=1e-4)
        assert 0 <= numbers["waiting"] < 1


def test_the_train_figures_weigh_images_and_not_batches(train) -> None:
    still = ("augment=none", "optimizer=sgd", "optimizer.lr=1e-12")
    batches, at_once = (train(*still, f"data.batch_size={size}").folder for size in (100, 1259))
    (row,), (whole,) = rows(batches), rows(at_once)
    assert float(row["train/loss"]) == pytest.approx(float(whole["train/loss"]), rel=1e-5)
    assert row["train/top1"] == whole["train/top1"]


def test_best_is_the_epoch_of_the_best_row(done) -> None:
    found = rows(done.folder)
    best = max(found, key=lambda row: (float(row["val/top1"]), -float(row["val/loss"])))
    assert best["epoch"] == "1"
    assert done.result["best"]["epoch"] == 1
    assert done.result["val"]["top1"] == pytest.approx(float(best["val/top1"]), abs=1e-6)
    kept = weights.read(done.folder / "checkpoints/best.ckpt")
    assert kept.epoch == 0
    assert weights.sha256(kept.weights) == done.result["best"]["weights_sha256"]
    assert done.result["best"]["weights_sha256"] != done.result["weights_sha256"]


def measured(net: Net, job: Any) -> dict[str, Any]:
    """The figures of the test split, found anew."""
    task, module = Classify(net, 10), DataModule(job.source, job.train)
    with noise.quiet():
        engine.build(job.plan.device, logger=False).test(task, datamodule=module, verbose=False)
    return task.figures["test"]


def test_the_test_is_that_of_the_best_epoch(done) -> None:
    job, folder, result = done
    net = nets.build(job.spec, num_classes=10, shape=job.plan.shape)
    found = {}
    for name in ("best", "last"):
        weights.load(net, weights.read(folder / f"checkpoints/{name}.ckpt"))
        found[name] = measured(net, job)
    assert found["best"] == result["test"]
    assert found["last"]["top1"] < result["test"]["top1"]


def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_checkpoint() -> None:
    words = ["train", "trainer.max_epochs=1", "hardware=cpu", "progress=none"]
    limited = (
        "import resource, sys; from cnnctl.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *words], capture_output=True, text=True, check=False
    )
    (folder,) = Path("outputs/train").iterdir()
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    text = f"cnnctl: error: cannot write {folder}/checkpoints/last.ckpt: "
    assert [line[: len(text)] for line in errors] == [text]
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert list((folder / "checkpoints").iterdir()) == []
    assert not (folder / "result.json").exists()


def test_a_run_folder_that_vanishes_is_told(prepare, tmp_path) -> None:
    job = prepare("trainer.max_steps=1")
    folder = runs.create(str(tmp_path / "outputs"), "train", "x")
    shutil.rmtree(folder)
    with pytest.raises(RunError) as caught:
        jobs.work(job, folder)
    assert (
        str(caught.value)
        == f"cannot write {folder}/checkpoints/last.ckpt: No such file or directory"
    )


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_measured_loss_that_is_no_number_is_kept(value) -> None:
    """A step without a number is never applied, but a net may overflow when it is measured."""
    record, task = EpochRecord(), Classify(torch.nn.Identity(), 2)  # pyright: ignore[reportArgumentType]
    task.figures = {split: {"loss": 1.0, "top1": 0.5} for split in ("train", "val")}
    task.figures["val"]["loss"] = value
    task.images["train"] = 10
    record._seconds = 2.0
    logged: list[dict[str, float]] = []
    logger = SimpleNamespace(log_metrics=lambda metrics, **_: logged.append(metrics))
    stub: Any = SimpleNamespace(current_epoch=6, global_step=70, loggers=[logger])
    record.on_train_epoch_end(stub, task)
    assert logged == record.records
    assert str(logged[0]["val/loss"]) == str(value)
    assert (logged[0]["epoch"], logged[0]["step"], logged[0]["images_per_second"]) == (7, 70, 5.0)


class Clock:
    """Drives a record by hand; seconds pass when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(callbacks.time, "perf_counter", lambda: self.now)
        self.task = Classify(torch.nn.Identity(), 2)  # pyright: ignore[reportArgumentType]
        figures = {"loss": 1.0, "top1": 0.5}
        self.task.figures, self.task.images = {"train": figures, "val": figures}, {"train": 60}
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        self.trainer: Any = SimpleNamespace(
            strategy=strategy, global_step=0, max_steps=-1, current_epoch=0, loggers=[],
        )  # fmt: skip

    def start(self, record: EpochRecord, epoch: int = 0, begun: int = 0) -> None:
        """Lightning's start of training, at a place."""
        self.task.place.epoch, self.task.place.begun = epoch, begun
        self.trainer.current_epoch = epoch
        record.on_train_start(self.trainer, self.task)
        record.on_train_epoch_start(self.trainer, self.task)

    def batch(self, record: EpochRecord, waits: float, takes: float) -> None:
        self.now += waits
        record.on_train_batch_start(self.trainer, self.task, [], 0)
        self.now += takes
        self.trainer.global_step += 1
        record.on_train_batch_end(self.trainer, self.task, None, [], 0)

    def over(self, record: EpochRecord, measuring: float = 0.0) -> dict[str, float]:
        record.on_validation_start(self.trainer, self.task)
        self.now += measuring
        record.on_train_epoch_end(self.trainer, self.task)
        return record.records[-1]


def test_seconds_and_waiting_are_those_of_the_training_part(monkeypatch) -> None:
    clock, record = Clock(monkeypatch), EpochRecord()
    clock.start(record)
    for _ in range(3):
        clock.batch(record, waits=0.5, takes=1.5)
    found = clock.over(record, measuring=100)
    assert (found["seconds"], found["waiting"], found["images_per_second"]) == (6, 0.25, 10)
    assert record.seconds == 106


def test_an_epoch_that_was_interrupted_has_the_seconds_of_both_parts(monkeypatch) -> None:
    clock, first = Clock(monkeypatch), EpochRecord()
    clock.start(first)
    clock.batch(first, waits=0.5, takes=1.5)
    state = copy.deepcopy(first.state_dict())
    clock.now += 10_000  # the machine was off
    second = EpochRecord()
    second.load_state_dict(state)
    clock.start(second, begun=1)
    for _ in range(2):
        clock.batch(second, waits=0.5, takes=1.5)
    found = clock.over(second)
    assert (found["seconds"], found["waiting"], found["images_per_second"]) == (6, 0.25, 10)
    assert (second.seconds, second.resumed) == (6, [1])


def test_what_was_waited_for_after_a_checkpoint_is_lost_with_its_steps(monkeypatch) -> None:
    clock, first = Clock(monkeypatch), EpochRecord()
    clock.start(first)
    clock.batch(first, waits=0.5, takes=1.5)
    state = copy.deepcopy(first.state_dict())
    clock.batch(first, waits=500, takes=500)
    second = EpochRecord()
    second.load_state_dict(state)
    clock.start(second, begun=1)
    clock.batch(second, waits=0.5, takes=1.5)
    assert clock.over(second)["seconds"] == 4


def test_a_run_that_goes_on_after_an_epoch_begins_its_clock_anew(monkeypatch) -> None:
    clock, first = Clock(monkeypatch), EpochRecord()
    clock.start(first)
    clock.batch(first, waits=1, takes=1)
    clock.over(first, measuring=30)
    state = copy.deepcopy(first.state_dict())
    clock.now += 10_000
    second = EpochRecord()
    second.load_state_dict(state)
    clock.start(second, epoch=1)
    clock.batch(second, waits=1, takes=3)
    found = clock.over(second)
    assert (found["seconds"], found["waiting"]) == (4, 0.25)
    assert [record["epoch"] for record in second.records] == [1, 2]
    assert (second.seconds, second.resumed) == (36, [1])
    assert len(state["records"]) == 1


def test_a_run_that_ends_before_its_step_says_where_it_was_resumed_each_time(monkeypatch) -> None:
    clock, record = Clock(monkeypatch), EpochRecord()
    clock.trainer.global_step = 7
    clock.start(record)
    again = EpochRecord()
    again.load_state_dict(copy.deepcopy(record.state_dict()))
    clock.trainer.global_step = 9
    clock.start(again)
    assert again.resumed == [7, 9]
