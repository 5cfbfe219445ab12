"""The loaders of a run, for pytorch-lightning."""

from __future__ import annotations

from collections.abc import Iterator

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, Sampler

from cnnctl.config.schema import Augment, Data
from cnnctl.data import transforms
from cnnctl.data.source import Source, Transformed

Loader = DataLoader[tuple[Tensor, int]]


class DataModule(pl.LightningDataModule):
    """Batches of images float32 (B, C, size, size) and labels int64 (B,)."""

    def __init__(self, source: Source, data: Data, augment: Augment, seed: int) -> None:
        super().__init__()
        self.source = source
        self.data = data
        self.augment = augment
        self.seed = seed

    def train_dataloader(self) -> Loader:
        """Shuffled and augmented."""
        transform = transforms.training(self.data, self.augment)
        return self._loader("train", transform, shuffle=True)

    def val_dataloader(self) -> Loader:
        """In order, as it is."""
        return self.evaluation("val")

    def test_dataloader(self) -> Loader:
        """In order, as it is."""
        return self.evaluation("test")

    def evaluation(self, split: str) -> Loader:
        """Any split in order and without random changes."""
        return self._loader(split, transforms.evaluation(self.data), shuffle=False)

    def _loader(self, split: str, transform: transforms.Transform, *, shuffle: bool) -> Loader:
        images = Transformed(self.source.splits[split], transform)
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(
            images,
            batch_size=self.data.batch_size,
            sampler=self._sampler(images, generator, shuffle=shuffle),
            generator=generator,
            num_workers=self.data.workers,
            persistent_workers=self.data.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _sampler(
        self, images: Transformed, generator: torch.Generator, *, shuffle: bool
    ) -> Sampler[int]:
        """The order of the images; with several processes each takes its share.

        Lightning's own sampler for several processes repeats images when their number does
        not divide, so that 21 are measured as 22. Training may repeat one to keep all
        processes in step; measuring must not.
        """
        world, rank = (
            (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        )
        if shuffle and world > 1:
            return DistributedSampler(images, world, rank, shuffle=True, seed=self.seed)
        if shuffle:
            return RandomSampler(images, generator=generator)
        return Share(len(images), world, rank)


class Share(Sampler[int]):
    """Every world-th index from rank on: all shares together are every index once."""

    def __init__(self, images: int, world: int, rank: int) -> None:
        self.indices = range(rank, images, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
