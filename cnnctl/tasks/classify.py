"""Image classification: cross-entropy, top-1 and top-5, whatever the net."""

from __future__ import annotations

from typing import Any

import torch
from torchmetrics.classification import MulticlassCalibrationError

from cnnctl.data.prepare import Batch
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.steps import Configure, Steps
from cnnctl.tasks.tally import Tally, means

BINS = 15  # of the expected calibration error (Guo et al. 2017, section 2)
COUNTED = "counted"  # the entry of a checkpoint with the sums of the epoch that it is in


class Classify(Steps):
    """Trains and measures `net`: images (B, C, H, W) -> logits (B, classes).

    With `mirror` what is measured is the mean of the logits of an image and its mirror image.
    `how` is that of `Steps`.

    `figures` holds the last epoch's means by split: loss and top1, and top5 with
    more than five classes, and of a test the expected calibration error `ece`, all in 0..1;
    `images` says how many went into them.
    """

    def __init__(
        self, net: Net, classes: int, configure: Configure | None = None, *,
        mirror: bool = False, **how: Any,
    ) -> None:  # fmt: skip
        super().__init__(net, configure, **how)
        self.mirror = mirror
        self.classes = classes
        self.figures: dict[str, dict[str, float]] = {}
        self.images: dict[str, int] = {}
        self.tallies: dict[str, Tally] = {}
        self.earlier: list[float] = []
        self.calibration = MulticlassCalibrationError(classes, n_bins=BINS)

    def count(self, split: str, measured: Measured) -> None:
        """Add to the sums of the epoch."""
        self.tallies[split].add(*measured)

    def validation_step(self, batches: list[Batch], _: int) -> None:
        """Count one batch."""
        self._counted("val", batches)

    def test_step(self, batches: list[Batch], _: int) -> None:  # noqa: PT019 - a hook of Lightning
        """Count one batch, and how sure the net is."""
        measured = self._counted("test", batches)
        self.calibration.update(measured.logits.softmax(1), measured.labels)

    def on_train_epoch_start(self) -> None:
        """Start counting, or go on where a checkpoint was written within the epoch."""
        self.tallies["train"] = Tally(self.device)
        if self.earlier and self.global_rank == 0:
            self.tallies["train"].sums.copy_(torch.tensor(self.earlier, dtype=torch.float64))
        self.earlier = []

    def on_validation_epoch_start(self) -> None:
        """Start counting; all processes measure the net that the first one will save.

        Its running statistics of batches are its own, as those of any other process are.
        """
        if self.trainer.world_size > 1:
            for value in self.net.buffers():
                torch.distributed.broadcast(value, 0)
        self.tallies["val"] = Tally(self.device)

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self.tallies["test"] = Tally(self.device)
        self.calibration.reset()

    def on_validation_epoch_end(self) -> None:
        """Settle the figures of this epoch: those of training first, which is over by now."""
        if "train" in self.tallies:
            self._settle("train")
        self._settle("val")
        self.over(self.figures["val"]["top1"])

    def on_test_epoch_end(self) -> None:
        """Settle the figures of the test."""
        self._settle("test")
        self.figures["test"]["ece"] = float(self.calibration.compute())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What is counted of an epoch that is not over."""
        super().on_save_checkpoint(checkpoint)
        within = self.place.begun > 0 and "train" in self.tallies
        checkpoint[COUNTED] = self._sums("train").tolist() if within else []

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting from there."""
        super().on_load_checkpoint(checkpoint)
        self.earlier = checkpoint[COUNTED]

    def _counted(self, split: str, batches: list[Batch]) -> Measured:
        (batch,) = batches
        measured = self.measure(batch.images, batch.labels)
        if self.mirror:
            logits = (measured.logits + self.net(batch.images.flip(3))) / 2
            measured = Measured(self.net.loss(logits, batch.labels), logits, batch.labels)
        self.count(split, measured)
        return measured

    def _sums(self, split: str) -> torch.Tensor:
        """Over all processes."""
        return self.trainer.strategy.reduce(self.tallies[split].sums.clone(), reduce_op="sum")

    def _settle(self, split: str) -> None:
        sums = self._sums(split)
        self.figures[split] = means(sums, self.classes)
        self.images[split] = int(sums[-1])
