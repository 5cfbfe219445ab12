"""Several batches at a time where a step is short."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from cnnctl.config import schema
from cnnctl.data.module import DataModule
from cnnctl.plan import Plan

SPAN = 0.05  # seconds that a list of batches may take: the bar moves ten times a second
MOST = 32  # batches
LARGEST = 2**26  # bytes of images that are on the device at a time


def fits(train: schema.Train, plan: Plan) -> bool:
    """Whether the task may be handed several batches at a time.

    Not where a step has several itself, nor where a callback has to see every step.
    """
    seen = train.trainer.ema is not None or plan.device.strategy == "fsdp"
    return train.trainer.accumulate == 1 and not seen


class Pace(pl.Callback):
    """Sets how many batches come at a time from how long the last ones took, at most `most`.

    Several processes have to take as many at a time: they ask the first one before each epoch.
    """

    def __init__(self, module: DataModule, most: int | None = None) -> None:
        self.module = module
        self.most = most
        self.began = 0.0
        self.wanted = 1

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Agree with the other processes."""
        if trainer.world_size > 1:
            self.module.chunk(trainer.strategy.broadcast(self.wanted))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """What is asked of the loader from now on; the results do not depend on it."""
        if not batch:
            return
        step = (time.perf_counter() - self.began) / len(batch)
        fit = LARGEST // max(1, batch[0].images.nbytes)
        self.wanted = max(1, min(self.most or MOST, fit, int(SPAN / step)))
        if trainer.world_size == 1:
            self.module.chunk(self.wanted)
