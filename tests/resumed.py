"""Short runs, and all of a run that must not depend on whether it was ended."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from cnnctl import weights
from cnnctl.training import trainer
from cnnctl.training.start import Job

# Three epochs of three steps, the third of each on fewer images; a checkpoint after every step.
SHORT = ("trainer.max_epochs=3", "data.size=8", "data.batch_size=500", "checkpoint.every=1steps")
MLP = (*SHORT, "model=mlp", "model.hidden=[8]")
DROPOUT = (*SHORT, "model=pattern", "model.levels=[[4]]", "model.hidden=[8]", "model.dropout=0.3")
BATCH_NORM = (*DROPOUT, "model.norm=batch")
FIRST_IS_BEST = ("optimizer.lr=1", "seed=2")  # as it happens
RARELY = "checkpoint.every=1h"
SAME = ("weights_sha256", "best", "val", "test", "steps", "epochs", "params", "seed")
TIMES = {"seconds", "images_per_second", "waiting"}


class Keep(pl.Callback):
    """Keeps what the run folder holds after every step and epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, Path] = {}

    def keep(self, name: str) -> None:
        self.kept[name] = self.folder.with_name(f"{self.folder.name} {name}")
        shutil.copytree(self.folder, self.kept[name])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if not pl_module.gradient.parts:  # it is over
            self.keep(f"step {trainer.global_step}")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.keep(f"epoch {trainer.current_epoch + 1}")

    def on_train_end(self, *_: Any) -> None:
        self.keep("trained")


def rows(run: Path) -> list[dict[str, str]]:
    """metrics.csv without what depends on the clock."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name not in TIMES} for row in found]


def told(run: Path, result: dict[str, Any]) -> dict[str, Any]:
    """All that must not depend on whether a run was ended."""
    last = weights.read(run / "checkpoints/last.ckpt")
    assert weights.sha256(last.weights) == result["weights_sha256"]
    return {name: result[name] for name in SAME} | {"rows": rows(run), "epoch": last.epoch}


def fitted(job: Job, run: Path, *callbacks: pl.Callback) -> dict[str, Any]:
    return told(run, trainer.fit(job, run, list(callbacks)))
