"""Image classification: cross-entropy, top-1 and top-5, whatever the net."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics.classification import MulticlassCalibrationError

from cnnctl.data.prepare import Batch
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.steps import Configure
from cnnctl.tasks.tally import Tally, means
from cnnctl.tasks.task import Task

BINS = 15  # of the expected calibration error (Guo et al. 2017, section 2)


class Classify(Task):
    """Trains and measures `net`: images (B, C, H, W) -> logits (B, classes).

    With `mirror` what is measured is the mean of the logits of an image and its mirror image.
    `how` is that of `Steps`.

    The figures are loss and top1, and top5 with more than five classes, and of a test the expected
    calibration error `ece`, all in 0..1.
    """

    FIGURE = "top1"

    def __init__(
        self, net: Net, classes: int, configure: Configure | None = None, **how: Any
    ) -> None:  # fmt: skip
        super().__init__(net, configure, **how)
        self.classes = classes
        self.calibration = MulticlassCalibrationError(classes, n_bins=BINS)

    def tally(self) -> Tally:
        """Loss and hits."""
        return Tally(self.device)

    def means(self, sums: Tensor) -> dict[str, float]:
        """See `tally.means`."""
        return means(sums, self.classes)

    def measured(self, batch: Batch) -> Measured:
        """One batch, and its mirror image if that is wanted."""
        found = self.measure(batch.images, batch.labels)
        if not self.mirror:
            return found
        logits = (found.logits + self.net(batch.images.flip(3))) / 2
        return Measured(self.net.loss(logits, batch.labels), logits, batch.labels)

    def count(self, split: str, measured: Measured) -> None:
        """Add to the sums of the epoch; of a test also how sure the net is."""
        super().count(split, measured)
        if split == "test":
            self.calibration.update(measured.logits.softmax(1), measured.labels)

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        super().on_test_epoch_start()
        self.calibration.reset()

    def on_test_epoch_end(self) -> None:
        """Settle the figures of the test."""
        super().on_test_epoch_end()
        self.figures["test"]["ece"] = float(self.calibration.compute())
