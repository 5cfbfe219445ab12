"""What every data set is, once loaded: class names, and images with labels for each split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor
from torch.utils.data import Dataset

Transform = Callable[[Tensor], Tensor]


class Images(Protocol):
    """Labelled images: uint8 (C, H, W) of any size, and the label's number."""

    labels: Sequence[int]

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
        """One image and its label."""
        ...


@dataclass(frozen=True)
class Source:
    """A data set: its class names in the order of the labels, and its splits.

    `splits` has "train" and "val", and "test" if there is one; `skipped` names the files
    that were left out because they could not be read, with the reason.
    """

    classes: tuple[str, ...]
    splits: dict[str, Images]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Images in each split."""
        return {name: len(images.labels) for name, images in self.splits.items()}


class Transformed(Dataset[tuple[Tensor, int]]):
    """Images that pass through a transform: float32 (C, size, size), and the label."""

    def __init__(self, images: Images, transform: Transform) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.images[index]
        return self.transform(image), label
