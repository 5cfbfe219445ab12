"""The loaders of a run, for pytorch-lightning."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

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
        generator = torch.Generator().manual_seed(self.seed)
        return self._loader("train", transform, shuffle=True, generator=generator)

    def val_dataloader(self) -> Loader:
        """In order, as it is."""
        return self.evaluation("val")

    def test_dataloader(self) -> Loader:
        """In order, as it is."""
        return self.evaluation("test")

    def evaluation(self, split: str) -> Loader:
        """Any split in order and without random changes."""
        return self._loader(split, transforms.evaluation(self.data), shuffle=False)

    def _loader(
        self,
        split: str,
        transform: transforms.Transform,
        *,
        shuffle: bool,
        generator: torch.Generator | None = None,
    ) -> Loader:
        return DataLoader(
            Transformed(self.source.splits[split], transform),
            batch_size=self.data.batch_size,
            shuffle=shuffle,
            generator=generator,
            num_workers=self.data.workers,
            persistent_workers=self.data.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
