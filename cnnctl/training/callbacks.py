"""One record of figures at the end of every epoch."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch

from cnnctl.tasks.task import Task

Record = dict[str, float]


class EpochRecord(pl.Callback):
    """Makes one record per epoch and gives it to every logger.

    A record has epoch (from 1), step, lr (of the last step), train/… and val/… figures, images,
    seconds (of the training part), images_per_second and waiting, the share of the seconds in
    which the next batch was not there yet. `resumed` are the steps after which a run was resumed,
    `seconds` is how long it has trained in all, before that too.
    """

    def __init__(self, steps: int | None = None) -> None:
        self.steps = steps
        self.records: list[Record] = []
        self.resumed: list[int] = []
        self._born = time.perf_counter()
        self._earlier = 0.0  # seconds of the whole run, before it was resumed
        self._within = 0.0  # seconds of this epoch, before
        self._started = 0.0
        self._seconds = 0.0
        self._waited = 0.0
        self._ended = 0.0

    @property
    def seconds(self) -> float:
        """Of the whole run so far."""
        return self._earlier + time.perf_counter() - self._born

    def state_dict(self) -> dict[str, Any]:
        """Kept in every checkpoint."""
        within = self._within + time.perf_counter() - self._started
        return {
            "records": self.records, "resumed": self.resumed, "seconds": self.seconds,
            "within": within, "waited": self._waited,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.records, self.resumed = list(state_dict["records"]), list(state_dict["resumed"])
        self._earlier = state_dict["seconds"]
        self._within, self._waited = state_dict["within"], state_dict["waited"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note where a resumed run goes on."""
        assert isinstance(pl_module, Task)
        if trainer.global_step:
            self.resumed.append(trainer.global_step)
        if not pl_module.place.begun:
            self._within = self._waited = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = self._ended = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there."""
        self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Let Lightning validate where the last of the `steps` is within an epoch.

        Its own max_steps would not, if the run was resumed after that step.
        """
        if trainer.global_step == self.steps:
            trainer.should_stop = True
        self._ended = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock: the training part of the epoch is over once the device is done."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self._seconds = self._within + time.perf_counter() - self._started

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation is over by now: make the record."""
        assert isinstance(pl_module, Task)
        record: Record = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        record["lr"] = pl_module.place.lr
        for split in ("train", "val"):
            record |= {f"{split}/{name}": value for name, value in pl_module.figures[split].items()}
        record["images"] = pl_module.images["train"]
        record["seconds"] = self._seconds
        record["images_per_second"] = record["images"] / self._seconds
        record["waiting"] = self._waited / self._seconds
        self.records.append(record)
        self._within = self._waited = 0.0
        for logger in trainer.loggers:
            logger.log_metrics(record, step=trainer.global_step)
