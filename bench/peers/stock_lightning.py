"""A training script as pytorch-lightning's documentation shows them.

    python bench/peers/stock_lightning.py DATA MODEL [--epochs N] [--precision P] [--steps N]

`self.log` in every step, torchmetrics, the default bar, CSVLogger, ModelCheckpoint. DATA is
`digits` or a folder with train, val and test; MODEL is `lenet5` or `resnet20`.
"""

from __future__ import annotations

import argparse
import tempfile

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from subjects import images, net
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

Batch = tuple[Tensor, Tensor]


class Classifier(pl.LightningModule):
    """Cross-entropy and accuracy."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.net = net(name, channels)
        self.train_accuracy = MulticlassAccuracy(10, average="micro")
        self.val_accuracy = MulticlassAccuracy(10, average="micro")
        self.test_accuracy = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """One step."""
        inputs, labels = batch
        logits = self.net(inputs)
        loss = cross_entropy(logits, labels)
        self.train_accuracy(logits, labels)
        self.log("train_loss", loss, prog_bar=True)
        self.log("train_accuracy", self.train_accuracy, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """One batch."""
        inputs, labels = batch
        logits = self.net(inputs)
        self.val_accuracy(logits, labels)
        self.log("val_loss", cross_entropy(logits, labels), prog_bar=True)
        self.log("val_accuracy", self.val_accuracy, prog_bar=True)

    def test_step(self, batch: Batch, _: int) -> None:  # noqa: PT019 - a hook of Lightning
        """One batch."""
        inputs, labels = batch
        self.test_accuracy(self.net(inputs), labels)
        self.log("test_accuracy", self.test_accuracy)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.003)


def main() -> None:
    """Train, then test the best epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("model", choices=["lenet5", "resnet20"])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--batch-size", type=int, default=64)
    given = parser.parse_args()
    size = given.batch_size
    train = DataLoader(images(given.data, "train"), size, shuffle=True)
    val, test = (DataLoader(images(given.data, split), size) for split in ("val", "test"))
    model = Classifier(given.model, 1 if given.data == "digits" else 3)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=given.epochs, precision=given.precision,
            limit_train_batches=given.steps,
            logger=CSVLogger(folder), default_root_dir=folder,
            callbacks=[ModelCheckpoint(monitor="val_accuracy", mode="max")],
        )  # fmt: skip
        trainer.fit(model, train, val)
        trainer.test(model, test, ckpt_path="best")


if __name__ == "__main__":
    main()
