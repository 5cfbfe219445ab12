"""How much memory a training step really takes, beside what the plan has predicted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from cnnctl.allocation import Follow, highest

MEASURED = 1  # steps made before the one that counts: in the first the optimizer gets its state


class MemoryCheck(pl.Callback):
    """Measures the second step in bytes; `peak` stays None where it is never made.

    On a GPU torch's allocator keeps the peak itself. On a CPU it tells a profiler of what it
    gives and takes back; the first step is followed too, so that what lives across steps is
    known. Weights, buffers and the batch are older than that and are added. A second step on
    fewer images, which are the rest of an epoch, says nothing about the others: `peak` stays
    None then, too. The steps that are followed have one batch each (see DataModule).
    """

    def __init__(self) -> None:
        self.peak: int | None = None
        self._followed = ""  # the type of the device whose allocator is asked at present
        self._images: dict[int, int] = {}  # of the first batch of a step
        self._follow: Follow | None = None
        self._lives = 0  # bytes that the steps so far have left alive
        self._most = 0

    def state_dict(self) -> dict[str, Any]:
        """Kept in every checkpoint: a resumed run has no second step any more."""
        return {"peak": self.peak}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.peak = state_dict["peak"]

    def beside(self, predicted: dict[str, Any]) -> dict[str, Any]:
        """Predicted and measured bytes, and the relative error of the prediction."""
        told = predicted["peak"]
        error = None if self.peak is None else told / self.peak - 1
        return {"predicted": told, "measured": self.peak, "error": error}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Follow the first two steps."""
        resumed = trainer.global_step > 0 and not self._images
        if resumed or trainer.global_step > MEASURED or not batch or self.peak is not None:
            return
        self._images.setdefault(trainer.global_step, len(batch[0].images))
        kind = trainer.strategy.root_device.type
        if kind == "cuda":
            torch.cuda.reset_peak_memory_stats()
        elif kind == "cpu":
            self._follow = Follow()
        self._followed = kind

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Read what the allocator says; a step of several batches is over when it counts."""
        alike = self._images.get(MEASURED) == self._images.get(0)
        done = trainer.global_step > MEASURED and alike
        if self._followed == "cpu":
            changes = self._stop()
            if trainer.global_step >= MEASURED:
                most = highest(changes) + _size(batch[0][:2])
                self._most = max(self._most, self._lives + most)
            self._lives += sum(changes)
            if done:
                self.peak = self._most + _size((*pl_module.parameters(), *pl_module.buffers()))
        elif self._followed == "cuda" and done:
            self.peak = torch.cuda.max_memory_allocated()
        self._followed = ""

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave no profiler behind."""
        if self._followed == "cpu":
            self._stop()

    def _stop(self) -> list[int]:
        """What the allocator has given and taken back since the start (see Follow)."""
        assert self._follow is not None
        follow, self._follow, self._followed = self._follow, None, ""
        return follow.stop()


def _size(values: Iterable[Tensor]) -> int:
    """Bytes of all storages, each once: where a net makes images anew, they are the labels, too."""
    found = {one.data_ptr(): one.nbytes() for one in (value.untyped_storage() for value in values)}
    return sum(found.values())
