"""Tiny copies of the published data sets with masks, each as it is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from masked import photo, save
from PIL import Image

Written = dict[str, list[tuple[np.ndarray, np.ndarray]]]  # of each split: images, classes or 255
SIZE = (14, 18)
PALETTE = [*range(256)] * 3
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # of Cityscapes


def drawn(seed: int, values: list[int]) -> np.ndarray:
    """A mask of some of these values."""
    return np.random.default_rng(seed).choice(np.array(values, np.uint8), SIZE)


def image(file: Path, seed: int) -> np.ndarray:
    """A photo, and what a reader of its file sees, (3, H, W)."""
    save(file, photo(seed, *SIZE))
    return np.asarray(Image.open(file)).transpose(2, 0, 1)


def voc(root: Path) -> Written:
    """Masks with a palette; the rims are 255."""
    base = root / "VOCdevkit/VOC2012"
    (base / "ImageSets/Segmentation").mkdir(parents=True)
    (base / "SegmentationClass").mkdir()
    written: Written = {}
    for part, split, numbers in (("train", "train", range(6)), ("val", "test", range(6, 9))):
        names = [f"2007_{number:06d}" for number in numbers]
        (base / f"ImageSets/Segmentation/{part}.txt").write_text("\n".join(names) + "\n")
        written[split] = []
        for number, name in zip(numbers, names, strict=True):
            mask = drawn(number, [*range(21), 255])
            picture = Image.fromarray(mask)
            picture.putpalette(PALETTE)
            picture.save(base / f"SegmentationClass/{name}.png")
            written[split].append((image(base / f"JPEGImages/{name}.jpg", number), mask))
    return written


def pets(root: Path) -> Written:
    """Trimaps: 1 is the pet, 2 the background, 3 the border."""
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    written: Written = {}
    for part, split, numbers in (("trainval", "train", range(6)), ("test", "test", range(6, 8))):
        names = [f"great_pyrenees_{number}" for number in numbers]
        lines = [f"{name} 1 2 1\n" for name in names]
        (base / f"annotations/{part}.txt").write_text("".join(lines))
        written[split] = []
        for number, name in zip(numbers, names, strict=True):
            mask = drawn(number, [1, 2, 3])
            save(base / f"annotations/trimaps/{name}.png", mask)
            written[split].append((image(base / f"images/{name}.jpg", number), mask - 1))
    return written


def cityscapes(root: Path) -> Written:
    """All ids that masks can have; 19 of them are classes, in the order of their ids."""
    written: Written = {}
    for part, split, cities in (("train", "train", ("ulm", "aachen")), ("val", "test", ("bonn",))):
        written[split] = []
        for seed, city in enumerate(cities):
            for number in range(3):
                stem = f"{city}_{number:06d}_000019"
                mask = drawn(10 * seed + number, [*range(34)])
                save(root / f"gtFine/{part}/{city}/{stem}_gtFine_labelIds.png", mask)
                file = root / f"leftImg8bit/{part}/{city}/{stem}_leftImg8bit.png"
                classes = [[IDS.index(one) if one in IDS else 255 for one in row] for row in mask]
                written[split].append((image(file, 10 * seed + number), np.array(classes)))
    return written


WRITERS: dict[str, Callable[[Path], Written]] = {
    "voc": voc, "oxford_pets_masks": pets, "cityscapes": cityscapes,
}  # fmt: skip
