"""Nets that learn, and whose weights are averaged meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnnctl.training.averaging import Averaging, Ema, Swa

BATCHES, SIZE, EPOCHS = 3, 4, 4


class Place(nn.Module):
    """Puts the features into an order that a buffer of integers keeps."""

    order: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor([3, 1, 2, 0, 5, 7, 6, 4]))

    def forward(self, value: Tensor) -> Tensor:
        return value[:, self.order]


class Task(pl.LightningModule):
    """Learns as cnnctl's tasks do: lists of batches, its own steps, no generator's state."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), Place(), nn.Dropout(), nn.Linear(8, 2)
        )
        self.steps: list[list[Tensor]] = []  # parameters after each of them
        self.measured: list[list[Tensor]] = []  # parameters and buffers at each validation
        self.nothing_to_copy = (batch for batch in ())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)

    def training_step(self, batches: list[Any], _: int) -> None:
        for images, labels, word in batches:
            torch.manual_seed(word)
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            nn.functional.cross_entropy(self.net(images), labels).backward()
            optimizer.step()
            self.steps.append([value.detach().clone() for value in self.net.parameters()])

    def on_validation_epoch_start(self) -> None:
        self.measured.append(tensors(self.net))

    def validation_step(self, batches: list[Any], _: int) -> None:
        self.net(batches[0][0])


class Save(pl.Callback):
    """Writes a checkpoint after so many steps, or at the end of each epoch."""

    def __init__(self, folder: Path, step: int | None = None) -> None:
        self.folder = folder
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.folder / "within.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}.ckpt")


def tensors(net: nn.Module) -> list[Tensor]:
    return [value.detach().clone() for value in (*net.parameters(), *net.buffers())]


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def repeated(epoch: int) -> Iterator[list[Any]]:
    """The batches of an epoch, each in a list of its own."""
    generator = torch.Generator().manual_seed(epoch)
    for number in range(BATCHES):
        images = torch.randn(SIZE, 5, generator=generator)
        yield [(images, (images[:, 0] > 0).long(), 100 * epoch + number)]


class Images(pl.LightningDataModule):
    """A loader of training that gives the batches of the epoch that it is in."""

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        lists = list(repeated(self.trainer.current_epoch))
        return DataLoader(lists, batch_size=None)  # pyright: ignore[reportArgumentType] - a list does

    def val_dataloader(self) -> Any:
        return DataLoader(list(repeated(99)), batch_size=None)  # pyright: ignore[reportArgumentType] - a list does


def trained(
    folder: Path, *callbacks: pl.Callback, path: Path | None = None, **options: int
) -> tuple[Task, pl.Trainer]:
    task = Task()
    lengths: Any = {"max_epochs": EPOCHS} | options
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, logger=False, num_sanity_val_steps=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1, callbacks=[*callbacks, Save(folder)],
        **lengths,
    )  # fmt: skip
    trainer.fit(task, Images(), ckpt_path=path, weights_only=True)
    return task, trainer


def state(file: Path) -> dict[str, Any]:
    return torch.load(file, weights_only=True)


def net_of(checkpoint: dict[str, Any], entry: str = "state_dict") -> list[Tensor]:
    """Parameters, then buffers, as `tensors` gives them."""
    found = {name.removeprefix("net."): value for name, value in checkpoint[entry].items()}
    net = Task().net
    net.load_state_dict(found)
    return tensors(net)


def ema(decay: float = 0.5) -> Averaging:
    return Ema(decay)


def swa(begin: int = 2 * BATCHES) -> Averaging:
    return Swa(begin, repeated)


def mean_of(weights: list[list[Tensor]]) -> list[Tensor]:
    return [torch.stack(values).mean(0) for values in zip(*weights, strict=True)]
