"""The loaders of a run, for pytorch-lightning."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from cnnctl.config.masks import Masks, OfPixels
from cnnctl.config.schema import Train
from cnnctl.data import balance
from cnnctl.data.borders import Bordered
from cnnctl.data.order import Batches, Order, Ticket
from cnnctl.data.pair_reading import Cut, Entire, PairReader, PairView
from cnnctl.data.pairs import Pairs
from cnnctl.data.prepare import Batch, Prepare
from cnnctl.data.reading import Pixels, Reader, View, Whole, Window, as_they_are, deaf
from cnnctl.data.source import Source

Loader = DataLoader[list[Pixels]]
ALONE = 2  # batches at the start of training that come one by one: MemoryCheck follows them


class DataModule(pl.LightningDataModule):
    """Lists of batches: images float32 (B, C, size, size) and labels int64 (B,).

    A loader reads uint8; what is random, and normalising, is done to whole batches on the
    device. With `chunked` a list may have several batches, for `chunk` to say.
    """

    def __init__(
        self, source: Source, train: Train, *, chunked: bool = False, measured: str = "test"
    ) -> None:
        super().__init__()
        self.source = source
        self.data = train.data
        self.augment = train.augment
        self.border = train.loss.border if isinstance(train.loss, OfPixels) else None
        self.seed = train.seed
        self.chunked = chunked
        self.measured = measured
        self.prepare = Prepare(train, len(source.classes))
        self.parts = train.trainer.accumulate
        self.batches: Batches | None = None
        self.begun = (0, 0)  # epoch, and steps made in it

    def train_dataloader(self) -> Loader:
        """Shuffled, and changed at random."""
        self.batches = self._training(alone=ALONE if self.chunked else 0)
        self.batches.resume(*self.begun)
        return self._loader("train", self.batches, self._view())

    def repeat(self, epoch: int) -> Loader:
        """The batches of an epoch of training once more, one by one, in a loader of its own."""
        batches = self._training()
        batches.set_epoch(epoch)
        return self._loader("train", batches, self._view(), stay=False)

    def chunk(self, batches: int) -> None:
        """From now on the loader of training hands over so many batches at a time."""
        assert self.batches is not None
        self.batches.chunk = batches

    def val_dataloader(self) -> Loader:
        """In order, as it is."""
        return self.evaluation("val")

    def test_dataloader(self) -> Loader:
        """In order, as it is: the split `measured`."""
        return self.evaluation(self.measured)

    def evaluation(self, split: str, view: View | None = None) -> Loader:
        """Any split in order and without random changes, as `view` shows it."""
        world, rank = self._place()
        order = Order(self.source.sizes[split], None, world=world, rank=rank)
        batches = Batches(order, self.data.batch_size)
        if view is None and isinstance(self.data, Masks):
            return self._loader(split, batches, Entire(self.data.resize))
        return self._loader(split, batches, view or Whole(self.data.size))

    def transfer_batch_to_device(
        self,
        batch: list[Pixels],
        device: torch.device,
        dataloader_idx: int,  # noqa: ARG002 - a hook of Lightning
    ) -> list[Pixels]:
        """As Lightning does, which looks at every part of it; a hook of Lightning."""
        if device.type == "cpu":
            return batch
        return [
            Pixels(
                pixels.images.to(device, non_blocking=True),
                pixels.labels.to(device, non_blocking=True),
                pixels.ticket,
            )
            for pixels in batch
        ]

    def on_after_batch_transfer(
        self,
        batch: list[Pixels],
        dataloader_idx: int,  # noqa: ARG002 - a hook of Lightning
    ) -> list[Batch]:
        """What the net sees; a hook of Lightning."""
        prepared = [self.prepare(pixels) for pixels in batch]
        if self.trainer is None:
            return prepared
        # Lightning has done it before this hook, to bytes: 16, bf16 and 64-true want their floats
        convert = self.trainer.precision_plugin.convert_input
        return [
            Batch(convert(images), convert(labels), ticket) for images, labels, ticket in prepared
        ]

    def again(self, ticket: Ticket) -> Batch:
        """A batch of training once more: the same images, changed in the same way."""
        reader = self._reader("train", self._view())
        pixels = [reader.batch(ticket)]
        if self.trainer is not None:
            pixels = self.transfer_batch_to_device(pixels, self.trainer.strategy.root_device, 0)
        return self.on_after_batch_transfer(pixels, 0)[0]

    def _training(self, alone: int = 0) -> Batches:
        world, rank = self._place()
        labels, weights = self.source.splits["train"].labels, None
        if self.data.balance == "sample":
            weights = balance.weights(labels, len(self.source.classes))[labels]
        images = len(labels) * self.data.repeats  # a number beyond the last is the first again
        order = Order(images, self.seed, world=world, rank=rank, weights=weights)
        return Batches(order, self.data.batch_size, parts=self.parts, alone=alone)

    def _view(self) -> View | PairView:
        area = self.augment.crop
        if isinstance(self.data, Masks):
            return Cut(self.data.size, self.data.resize, area)
        return Whole(self.data.size) if area is None else Window(self.data.size, area)

    def _place(self) -> tuple[int, int]:
        """How many processes there are, and which of them this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    @cached_property
    def _bordered(self) -> Bordered:
        assert self.border is not None
        return Bordered(cast("Pairs", self.source.splits["train"]), self.border[1])

    def _reader(self, split: str, view: View | PairView) -> Reader | PairReader:
        images = self.source.splits[split]
        if isinstance(images, Pairs):
            if self.border is not None and isinstance(view, Cut):  # in training
                images = self._bordered
            most = self.data.batch_size * self.data.size**2
            return PairReader(images, cast("PairView", view), self.seed, most)
        return Reader(images, cast("View", view), self.seed)

    def _loader(
        self, split: str, batches: Batches, view: View | PairView, *, stay: bool = True
    ) -> Loader:
        feed = self.source.feeds.get(split)
        workers = 0 if feed is None else feed.workers
        loader: Any = Unsized if split == "train" else DataLoader
        return loader(
            self._reader(split, view),
            batch_sampler=batches,
            collate_fn=as_they_are,
            generator=torch.Generator(),  # or it would draw from the numbers that dropout gets
            num_workers=workers,
            worker_init_fn=deaf if workers else None,
            persistent_workers=stay and workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


class Unsized(DataLoader[list[Pixels]]):
    """Of no known length, so that Lightning asks for the next list to know which is the last."""

    def __len__(self) -> int:
        raise TypeError("the number of lists is settled while they are made")
