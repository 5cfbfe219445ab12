"""Steps that Lightning makes, and those that the task makes, to be compared."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from cnnctl import runs, weights
from cnnctl.data.module import DataModule
from cnnctl.data.prepare import Batch
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.tally import Tally, means
from cnnctl.training import engine, pace, start, trainer
from cnnctl.training.noise import quiet
from cnnctl.training.start import Job

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
        self.net = start.net(job, new=True)
        self.rows: list[dict[str, float]] = []
        self.tally = self.counted = Tally(torch.device("cpu"))

    def configure_optimizers(self) -> Any:
        made: Any = start.configure(self.job)(self.net)
        for entry in made[1]:
            if isinstance(entry["scheduler"], torch.optim.lr_scheduler.ReduceLROnPlateau):
                entry["monitor"] = "val/top1"
        return made

    def measured(self, batch: Batch) -> Tensor:
        images, labels, _ = batch
        logits = self.net(images)
        logits, outputs = (logits[0] if isinstance(logits, tuple) else logits), logits
        loss = self.net.loss(outputs, labels)
        self.tally.add(Measured(loss, logits, labels))
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


Work = Callable[[Job, int], tuple[dict[str, Any], list[dict[str, str]], Probe]]


def worker(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Trains with so many batches at once."""

    def work(job: Job, chunk: int) -> tuple[dict[str, Any], list[dict[str, str]], Probe]:
        monkeypatch.setattr(pace, "SPAN", 1e9)
        monkeypatch.setattr(pace, "MOST", chunk)
        folder, probe = runs.create(str(outputs), "train", "run"), Probe()
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
