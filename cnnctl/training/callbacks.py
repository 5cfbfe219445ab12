"""What happens at the end of an epoch: one record of figures, and two checkpoints."""

from __future__ import annotations

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from cnnctl import runs, weights
from cnnctl.errors import RunError, TrainingError
from cnnctl.tasks.classify import Classify

Record = dict[str, float]


class EpochRecord(pl.Callback):
    """Makes one record per epoch and gives it to every logger.

    A record has epoch (from 1), step, lr (of the last step), train/… and val/… figures, images,
    seconds (of the training part), images_per_second and waiting, the share of the seconds in
    which the next batch was not there yet. Raises TrainingError if a loss is not a number.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._started = 0.0
        self._seconds = 0.0
        self._waited = 0.0
        self._ended = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = self._ended = time.perf_counter()
        self._waited = 0.0

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
        """Let Lightning validate also where max_steps ends the run within an epoch."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True
        self._ended = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock: the training part of the epoch is over once the device is done."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self._seconds = time.perf_counter() - self._started

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation is over by now: make the record."""
        assert isinstance(pl_module, Classify)
        record: Record = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        record["lr"] = pl_module.lr
        for split in ("train", "val"):
            record |= {f"{split}/{name}": value for name, value in pl_module.figures[split].items()}
        record["images"] = pl_module.images["train"]
        record["seconds"] = self._seconds
        record["images_per_second"] = record["images"] / self._seconds
        record["waiting"] = self._waited / self._seconds
        self.records.append(record)
        for logger in trainer.loggers:
            logger.log_metrics(record, step=trainer.global_step)
        for name in ("train/loss", "val/loss"):
            if not math.isfinite(record[name]):
                text = f"{name} is {record[name]} after epoch {record['epoch']}"
                raise TrainingError(
                    text, "a lower learning rate: optimizer.lr=…, or trainer.clip=1"
                )


class Checkpoints(pl.Callback):
    """Writes last.ckpt after every epoch, and best.ckpt when val/top1 is the best so far.

    Of two epochs with the same val/top1 the one with the lower val/loss is better. Files
    are written beside and renamed, so a reader never sees half a checkpoint.
    """

    def __init__(self, folder: Path, config: dict[str, Any], classes: tuple[str, ...]) -> None:
        self.folder = folder
        self.entry = weights.entry(config, classes)
        self.best: tuple[float, float] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Kept in every checkpoint."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.best = state_dict["best"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what a checkpoint says about itself."""
        checkpoint[weights.ENTRY] = self.entry

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save; the same file serves as best.ckpt."""
        assert isinstance(pl_module, Classify)
        val = pl_module.figures["val"]
        score = (val["top1"], -val["loss"])
        better = self.best is None or score > self.best
        if better:
            self.best = score
        trainer.save_checkpoint(
            self.folder / runs.LAST, weights_only=False
        )  # False: also what resuming needs
        if better and trainer.is_global_zero:
            _copy(self.folder / runs.LAST, self.folder / runs.BEST)
        trainer.strategy.barrier()  # no process may read best.ckpt before it is there


def _copy(file: Path, place: Path) -> None:
    """Copy, whole or not at all. Raises RunError if the folder is full or read-only."""
    beside = place.with_name(f".{place.name}")
    try:
        shutil.copyfile(file, beside)
        beside.replace(place)
    except OSError as wrong:
        beside.unlink(missing_ok=True)
        raise RunError(f"cannot write {place}: {wrong.strerror}") from wrong


class AtomicIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, then renames it.

    Lightning's own way swallows a PermissionError and keeps a second copy in memory.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,
    ) -> None:
        """Save, whole or not at all. Raises RunError if the folder is full or read-only."""
        place = Path(path)
        beside = place.with_name(f".{place.name}")
        try:
            with beside.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(place)
        except (OSError, RuntimeError) as wrong:  # torch turns a full disk into a RuntimeError
            beside.unlink(missing_ok=True)
            reason = getattr(wrong, "strerror", None) or "the disk may be full"
            raise RunError(f"cannot write {place}: {reason}") from wrong
