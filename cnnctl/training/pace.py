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
LARGEST = 2**26  # bytes of images: a GPU's steps seem short, because nobody waits for them


def fits(train: schema.Train, plan: Plan) -> bool:
    """Whether steps may be made by the task, several for one call of Lightning's.

    Several devices need a call for every backward pass, and so does what Lightning itself does
    between batches: accumulating, scaling the loss, watching a figure for the schedule.
    """
    alone = plan.device.world == 1 and train.trainer.accumulate == 1
    watched = isinstance(train.schedule, schema.Plateau)
    return alone and plan.device.precision != "16-mixed" and not watched


class Pace(pl.Callback):
    """Sets how many batches come at a time from how long the last ones took."""

    def __init__(self, module: DataModule) -> None:
        self.module = module
        self.began = 0.0

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
        if not pl_module.automatic_optimization:
            step = (time.perf_counter() - self.began) / len(batch)
            fit = LARGEST // max(1, batch[0][0].nbytes)
            self.module.chunk(max(1, min(MOST, fit, int(SPAN / step))))
