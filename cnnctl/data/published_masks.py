"""Published data sets with masks: torchvision finds the files, and this is what they mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torchvision import datasets

from cnnctl.config.images import Data
from cnnctl.config.legend import Legend
from cnnctl.config.masks import IGNORE, PublishedMasks
from cnnctl.data.catalog import VAL_IS_TEST, Set, there
from cnnctl.data.fetch import fetch
from cnnctl.data.files import Files, Names
from cnnctl.data.mask_files import MaskImages
from cnnctl.data.pairs import Pairs
from cnnctl.data.source import Encoded, Images, Source
from cnnctl.data.split import divide
from cnnctl.errors import DataError

ORDER = ("train", "val", "test")
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
DEVKIT = "VOCdevkit/VOC2012"
PETS = ("pet", "background", "border")
ZIPS = ("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip")
CITIES_PAGE = "https://www.cityscapes-dataset.com/downloads"
FINE = {"mode": "fine", "target_type": "semantic"}


class FoundMasks(NamedTuple):
    """One split: the paths of images and of the mask of each, and what the masks mean."""

    images: Sequence[str]
    masks: Sequence[str]
    legend: Legend


def _voc(dataset: Any) -> FoundMasks:
    """Indices of a palette; the rims of objects, and what is too hard, are ignored."""
    legend = Legend(VOC, tuple(range(len(VOC))), (IGNORE,))
    return FoundMasks(there(dataset.images), there(dataset.masks), legend)


def _pets(dataset: Any) -> FoundMasks:
    """Trimaps count from 1."""
    images, masks = dataset._images, dataset._segs  # noqa: SLF001
    return FoundMasks(there(images), there(masks), Legend(PETS, (1, 2, 3)))


def _cities(dataset: Any) -> FoundMasks:
    """The 19 classes that are measured, by torchvision's table; the others are ignored.

    Torchvision lists the files in the order of the disk, which differs between machines.
    """
    ids = {one.id % (IGNORE + 1): one for one in dataset.classes}
    wanted = {
        one.train_id: (one.name, value) for value, one in ids.items() if not one.ignore_in_eval
    }
    names, values = zip(*(wanted[number] for number in sorted(wanted)), strict=True)
    legend = Legend(names, values, tuple(sorted(ids.keys() - set(values))))
    masks = [target for (target,) in dataset.targets]
    images, masks = zip(*sorted(zip(dataset.images, masks, strict=True)), strict=True)
    return FoundMasks(there(images), there(masks), legend)


SETS: dict[str, Set[FoundMasks]] = {
    "voc": Set(
        "PASCAL VOC 2012", datasets.VOCSegmentation, _voc,
        {"train": {"image_set": "train"}, "test": {"image_set": "val"}},
        tuple(
            (f"{DEVKIT}/{place}",)
            for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
        ),
    ),
    "oxford_pets_masks": Set(
        "Oxford-IIIT Pet", datasets.OxfordIIITPet, _pets,
        {
            "train": {"split": "trainval", "target_types": "segmentation"},
            "test": {"split": "test", "target_types": "segmentation"},
        },
        (("oxford-iiit-pet/images",), ("oxford-iiit-pet/annotations",)),
    ),
    "cityscapes": Set(
        "Cityscapes", datasets.Cityscapes, _cities,
        {part: own | FINE for part, own in VAL_IS_TEST.items()},
        tuple(
            (f"{folder}/{split}", packed)
            for folder, packed in zip(("leftImg8bit", "gtFine"), ZIPS, strict=True)
            for split in ("train", "val")
        ),
        get=f"get {' and '.join(ZIPS)} from {CITIES_PAGE} and put them there",
    ),
}  # fmt: skip


def load(data: Data) -> Source:
    """The set that data.name names; files are read as needed.

    Raises DataError if the set is missing or damaged, or does not have data.classes classes.
    """
    assert isinstance(data, PublishedMasks)
    found = fetch(data, SETS[data.name])
    classes = _checked(found, data)
    count = len(found["train"].images)
    cut = divide(np.zeros(count, np.int64), data, (), found.keys() - {"train"})
    splits: dict[str, Images] = {}
    for name in ORDER:
        if name in cut:
            splits[name] = _pairs(found["train"], data).pick(cut[name])
        elif name in found:
            splits[name] = _pairs(found[name], data)
    return Source(classes, splits, drawn=tuple(name for name in cut if name != "train"))


def _checked(found: dict[str, FoundMasks], data: PublishedMasks) -> tuple[str, ...]:
    """The classes, if there are as many as configured, and images in every split."""
    place = f"{SETS[data.name].title} in {Path(data.root).expanduser()}"
    classes = found["train"].legend.classes
    if len(classes) != data.classes:
        text = f"{place} has {len(classes)} classes, got data.classes={data.classes}"
        raise DataError(text, f"data.classes={len(classes)}")
    for name, part in found.items():
        if not part.images:
            raise DataError(f"{place} is damaged: {name} has no images")
    return classes


def _pairs(found: FoundMasks, data: PublishedMasks) -> Pairs:
    images, masks = (_files(paths, data.root) for paths in (found.images, found.masks))
    labels = np.zeros(len(images), np.int64)
    return Pairs(Encoded(images, labels, data.channels), MaskImages(masks, found.legend))


def _files(paths: Sequence[str], place: str) -> Files:
    root = Path(place).expanduser()
    return Files(root, Names.from_list([path.removeprefix(f"{root}{os.sep}") for path in paths]))
