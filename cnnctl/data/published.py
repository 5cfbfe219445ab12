"""Published data sets: the splits as they were published, and what is missing drawn from train."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnctl.config.images import Data, Published
from cnnctl.data.catalog import SETS, Found
from cnnctl.data.fetch import fetch
from cnnctl.data.files import Files, Names
from cnnctl.data.source import Encoded, Images, Source, Stored
from cnnctl.data.split import divide
from cnnctl.errors import DataError

SPLITS = ("train", "val", "test")
LUMA = (19595, 38470, 7471)  # of ITU-R BT.601, in 65536ths, as PIL rounds them
CHUNK = 1024  # images that are made grey at once


def load(data: Data) -> Source:
    """The set that data.name names; what fits in memory is there, photos are read as needed.

    Raises DataError if the set is missing or damaged, or does not have data.classes classes.
    """
    assert isinstance(data, Published)
    found = fetch(data, SETS[data.name])
    classes = _checked(found, data)
    if "extra" in found:
        found["train"] = _joined(found["train"], found.pop("extra"))
    if data.folds is not None and "val" in found:
        found["train"] = _joined(found["train"], found.pop("val"))
    cut = divide(found["train"].labels, data, classes, [name for name in found if name != "train"])
    splits: dict[str, Images] = {}
    for name in SPLITS:
        if name in cut:
            splits[name] = _images(found["train"], cut[name], data)
        elif name in found:
            splits[name] = _images(found[name], None, data)
    drawn = tuple(name for name in cut if name != "train")
    return Source(classes, splits, drawn=drawn)


def _checked(found: dict[str, Found], data: Published) -> tuple[str, ...]:
    """The classes, if all splits agree on them and every image has one."""
    place = f"{SETS[data.name].title} in {Path(data.root).expanduser()}"
    classes = found["train"].classes
    if len(classes) != data.classes:
        text = f"{place} has {len(classes)} classes, got data.classes={data.classes}"
        raise DataError(text, f"data.classes={len(classes)}")
    for name, part in found.items():
        images, labels = len(part.images), part.labels
        if not images or images != len(labels):
            text = f"{images} images and {len(labels)} labels in {name}"
            raise DataError(f"{place} is damaged: {text}")
        if part.classes != classes:
            raise DataError(f"{place} is damaged: {name} has other classes than train")
        if labels.min() < 0 or labels.max() >= len(classes):
            raise DataError(f"{place} is damaged: {name} has a label that is no class")
    return classes


def _joined(first: Found, second: Found) -> Found:
    """Both, one after the other."""
    one, two = first.images, second.images
    if isinstance(one, Tensor) or isinstance(two, Tensor):
        assert isinstance(one, Tensor)
        assert isinstance(two, Tensor)
        images = torch.cat([one, two])
    else:
        images = [*one, *two]
    return Found(images, np.concatenate([first.labels, second.labels]), first.classes)


def _images(found: Found, chosen: np.ndarray | None, data: Published) -> Images:
    """Those images of a split that are `chosen`, or all."""
    if isinstance(found.images, Tensor):
        stored = Stored(found.images, found.labels)
        stored = stored if chosen is None else stored.pick(chosen)
        return Stored(_in_channels(stored.pixels, data.channels), stored.labels, stored.numbers)
    root = Path(data.root).expanduser()
    names = Names.from_list([path.removeprefix(f"{root}{os.sep}") for path in found.images])
    whole = Encoded(Files(root, names), found.labels, data.channels)
    return whole if chosen is None else whole.pick(chosen)


def _in_channels(pixels: Tensor, channels: int) -> Tensor:
    """Grey as colour takes no memory; colour becomes grey as PIL makes it."""
    if pixels.shape[1] == channels:
        return pixels
    if channels != 1:
        return pixels.expand(-1, channels, -1, -1)
    red, green, blue = LUMA
    grey = torch.empty_like(pixels[:, :1])
    for start in range(0, len(pixels), CHUNK):
        r, g, b = pixels[start : start + CHUNK].int().unbind(1)
        grey[start : start + CHUNK, 0] = (red * r + green * g + blue * b + 0x8000) >> 16
    return grey
