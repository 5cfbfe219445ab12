"""Image classification: cross-entropy, top-1 and top-5, whatever the net."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.classification import MulticlassCalibrationError
from torchmetrics.functional.classification import multiclass_confusion_matrix

from cnnctl.nets.net import Net

Batch = tuple[Tensor, Tensor]  # images, and labels (B,) or shares of the classes (B, classes)
Configure = Callable[[Iterator[nn.Parameter]], OptimizerLRScheduler]
TOP = 5
TOGETHER = 16  # batches that are counted at a time
SMALL = 2**16  # values of logits above which a batch is counted at once
BINS = 15  # of the expected calibration error (Guo et al. 2017, section 2)


class Tally:
    """Sums over an epoch, kept on the device: nothing waits for the GPU inside an epoch.

    Four values in float64 where the device has it: loss x images, hits at top-1, hits at
    top-5, images. Every image weighs the same, in a short last batch too. Small batches are
    counted several at a time, because counting one takes as long as a small net's forward pass.
    """

    def __init__(self, device: torch.device) -> None:
        self.kind = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(4, dtype=self.kind, device=device)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count one batch: mean loss (), logits (B, classes), labels (B,).

        Of shares (B, classes), which mixing images gives, the largest is the label.
        """
        if labels.ndim > 1:
            labels = labels.argmax(1)
        self._waiting.append((loss.detach() * len(labels), logits.detach(), labels))
        if len(self._waiting) == TOGETHER or logits.numel() > SMALL:
            self._count()

    @property
    def sums(self) -> Tensor:
        """The four values of all batches so far."""
        if self._waiting:
            self._count()
        return self._sums

    @torch.no_grad()
    def _count(self) -> None:
        losses, logits, labels = (list(values) for values in zip(*self._waiting, strict=True))
        self._waiting = []
        scores, wanted = torch.cat(logits), torch.cat(labels)
        hits = scores.topk(min(TOP, scores.shape[1])).indices == wanted.unsqueeze(1)
        images = hits.new_full((), len(wanted), dtype=self.kind)  # a copy would wait for a GPU
        loss = torch.stack(losses).to(self.kind).sum()
        self._sums += torch.stack((loss, hits[:, 0].sum(), hits.sum(), images))


def means(sums: Tensor, classes: int) -> dict[str, float]:
    """Loss, top1 and, with more than five classes, top5: means over the images of a tally."""
    loss, top1, top5, images = sums.tolist()
    found = {"loss": loss / images, "top1": top1 / images}
    return found | ({"top5": top5 / images} if classes > TOP else {})


class Classify(pl.LightningModule):
    """Trains and measures `net`: images (B, C, H, W) -> logits (B, classes).

    `configure` gives the optimizer and its schedule for the parameters; it is not needed to
    evaluate. What Lightning hands over is a list of batches: one for each optimizer step, or
    for each part of one. With `several` the list may be long and the steps are made here,
    because Lightning's work around a step takes longer than a small net's step; then `clip` is
    the largest norm of the gradient. `lr` is the learning rate of the last step.

    `figures` holds the last epoch's means by split: loss and top1, and top5 with
    more than five classes, and of a test the expected calibration error `ece`, all in 0..1;
    `images` says how many went into them. `confusion` counts (true, predicted) over the last test.
    """

    def __init__(
        self, net: Net, classes: int, configure: Configure | None = None, *,
        several: bool = False, clip: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.automatic_optimization = not several
        self.net = net
        self.classes = classes
        self.configure = configure
        self.clip = clip
        self.lr = 0.0
        self.figures: dict[str, dict[str, float]] = {}
        self.images: dict[str, int] = {}
        self.tallies: dict[str, Tally] = {}
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self.calibration = MulticlassCalibrationError(classes, n_bins=BINS)

    def __setattr__(self, name: str, value: Any) -> None:
        """As any module; the names of hooks without a look for parameters, forty times a step."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes)."""
        return self.net(images)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """What `configure` says."""
        assert self.configure is not None
        return self.configure(self.parameters())

    def training_step(self, batches: list[Batch], _: int) -> Tensor | None:
        """The mean loss of one batch, or one step for every batch."""
        if self.automatic_optimization:
            (batch,) = batches
            self.lr = self.trainer.optimizers[0].param_groups[0]["lr"]
            return self._measure("train", batch)[0]
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(schedule, LambdaLR)
        last, rate = self.trainer.max_steps, self.lr
        left = len(batches) if last < 0 else last - self.trainer.global_step  # -1: no last step
        for batch in batches[:left]:
            rate = optimizer.param_groups[0]["lr"]
            self._step(batch, optimizer)
            schedule.step()
        self.lr = rate
        return None

    def _step(self, batch: Batch, optimizer: LightningOptimizer) -> None:
        """What Lightning does in the same order when it makes the steps itself."""
        loss = self._measure("train", batch)[0]
        optimizer.zero_grad()
        if self.trainer.world_size > 1:
            self.manual_backward(loss)  # which readies the gradients' exchange for each of them
        else:
            loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters(), self.clip)
        optimizer.step()

    def validation_step(self, batches: list[Batch], _: int) -> None:
        """Count one batch."""
        (batch,) = batches
        self._measure("val", batch)

    def test_step(self, batches: list[Batch], _: int) -> None:  # noqa: PT019 - a hook of Lightning
        """Count one batch, by class too."""
        ((images, labels),) = batches
        logits = self._measure("test", (images, labels))[1]
        counted = multiclass_confusion_matrix(logits.argmax(1), labels, self.classes)
        self.confusion = self.confusion.to(counted.device) + counted
        self.calibration.update(logits.softmax(1), labels)

    def on_train_epoch_start(self) -> None:
        """Start counting."""
        self.tallies["train"] = Tally(self.device)

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
        self.confusion.zero_()
        self.calibration.reset()

    def on_validation_epoch_end(self) -> None:
        """Settle the figures of this epoch: those of training first, which is over by now."""
        if "train" in self.tallies:
            self._settle("train")
        self._settle("val")
        top1 = self.figures["val"]["top1"]
        self.log("val/top1", top1, logger=False, sync_dist=True)  # for the plateau schedule

    def on_test_epoch_end(self) -> None:
        """Settle the figures of the test."""
        self._settle("test")
        self.figures["test"]["ece"] = float(self.calibration.compute())
        self.confusion = self.trainer.strategy.reduce(self.confusion, reduce_op="sum")

    def _measure(self, split: str, batch: Batch) -> tuple[Tensor, Tensor]:
        images, labels = batch
        outputs = self.net(images)
        loss = self.net.loss(outputs, labels)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        self.tallies[split].add(loss, logits, labels)
        return loss, logits

    def _settle(self, split: str) -> None:
        sums = self.trainer.strategy.reduce(self.tallies[split].sums, reduce_op="sum")
        self.figures[split] = means(sums, self.classes)
        self.images[split] = int(sums[-1])
