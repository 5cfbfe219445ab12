"""How many images one core loads and changes at random.

    python bench/loading.py [ROUNDS] [--cifar FOLDER]

Batches of normalised float32 images, without a net, on one thread, against ImageFolder, PIL,
torchvision.transforms (v1) and a DataLoader without worker processes:
1. photos of 32x32, cropped after padding and flipped; cnnctl's cache of decoded pixels is there;
2. photos for 224x224, RandomResizedCrop and a flip, without a cache: both decode. The photos
   are noise at all scales that this script makes, of the size in pixels and in bytes that
   ImageNet's have.
Exits with 1 if a promise is not kept; the first part needs CIFAR-10.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import images
import pairs
import torch
from pairs import Cost, Table
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from cnnctl.data.module import DataModule

BATCH = 64
LEAST_SMALL, LEAST_LARGE = 25.0, 1.5
SMALL = {"train": 4500, "val": 500}
LARGE = {"train": 192, "val": 2}
NORMALISE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CROP = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
WINDOW = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]


def ours(root: Path, *words: str) -> Callable[[], Cost]:
    """One epoch of cnnctl's loader, and what is done to the batches before the net."""
    common = ["data=folder", f"data.root={root}", "data.verify=false", f"data.batch_size={BATCH}"]
    job = pairs.prepared([*common, "hardware=cpu", "data.workers=0", "progress=none", *words])
    module = DataModule(job.source, job.train)
    loader = module.train_dataloader()
    return lambda: pairs.timed(
        lambda: [module.on_after_batch_transfer(some, 0)[0][0].shape for some in loader]
    )


def theirs(root: Path, change: list[torch.nn.Module]) -> Callable[[], Cost]:
    """One epoch of a DataLoader over ImageFolder."""
    steps = [*change, transforms.ToTensor(), NORMALISE]
    folder = ImageFolder(str(root / "train"), transforms.Compose(steps))
    loader = DataLoader(folder, BATCH, shuffle=True)
    return lambda: pairs.timed(lambda: [batch.shape for batch, _ in loader])


def small(cifar: Path, rounds: int) -> bool:
    """32x32, from the cache; whether the promise is kept."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["CNNCTL_CACHE"] = f"{place}/cache"
        root = images.part(cifar, Path(place) / "cifar", SMALL)
        size = ["model=resnet20", "augment=flip_crop"]
        sides = {"ours": ours(root, *size, "data.cache=always"), "theirs": theirs(root, CROP)}
        turns = pairs.in_turn(sides, rounds)
        table = Table(
            "load and augment, one core", rounds, unit="images/s", work=SMALL["train"]
        )  # fmt: skip
        table.row("32x32, decoded once", turns, ("ours", "theirs"), LEAST_SMALL)
    return table.kept


def large(rounds: int) -> bool:
    """224x224, decoded every time; whether the promise is kept."""
    with tempfile.TemporaryDirectory() as place:
        root = images.photos(Path(place) / "photos", LARGE)
        files = list(root.rglob("*.jpg"))
        kib = sum(file.stat().st_size for file in files) / len(files) / 1024
        size = ["model=resnet18", "augment=resized_crop", "data.cache=never"]
        sides = {"ours": ours(root, *size), "theirs": theirs(root, WINDOW)}
        turns = pairs.in_turn(sides, rounds)
        title = f"made photos, {images.PHOTO[1]}x{images.PHOTO[0]}, {kib:.0f} KiB each, one core"
        table = Table(title, rounds, unit="images/s", work=LARGE["train"])
        table.row("224x224, decoded every time", turns, ("ours", "theirs"), LEAST_LARGE)
    return table.kept


def main() -> int:
    """Measure; returns 1 if a promise is not kept."""
    torch.set_num_threads(1)
    parser = pairs.arguments(__doc__)
    images.add_argument(parser)
    given = parser.parse_args()
    cifar = images.found(given.cifar)
    kept = [cifar is None or small(cifar, given.rounds), large(given.rounds)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
