"""Rules about images with masks, told without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config import legend, tasks
from cnnctl.config.images import Augment, Data
from cnnctl.config.masks import FolderMasks, Masks, PublishedMasks
from cnnctl.config.rules_losses import losses
from cnnctl.errors import Problem

FITTING = {  # of a task: data and nets that go with it
    "classify": ("data=digits", "model=lenet5"),
    "segment": ("data=shapes", "model=unet_same"),
    "reconstruct": ("data=digits", "model=autoencoder"),
}
UNSENT = "cityscapes"  # cannot be downloaded
UNKNOWING = ("policy", "erase", "mixup", "cutmix")  # of augment: what knows no masks


def masks(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Every rule between net, images, their changes and the loss that is about masks."""
    data, model = parts.get("data"), parts.get("model")
    if data is not None and model is not None:
        yield from _fitting(data, model)
    if isinstance(data, Masks):
        yield from _data(data)
        if "augment" in parts:
            yield from _augment(parts["augment"])
    yield from losses(parts)


def _fitting(data: Data, model: Mapping[str, Any]) -> Iterator[Problem]:
    task, masked = tasks.of(model), isinstance(data, Masks)
    if (task == "segment") == masked:
        return
    net = model.get("name")
    if masked:
        text = f"data={data.name} has a class for each pixel, but {net} gives none"
        yield Problem(text, f"{FITTING['segment'][1]}, or {FITTING[task][0]}", "data")
    else:
        text = f"{net} gives a class for each pixel, but data={data.name} has one for each image"
        yield Problem(text, "data=shapes, or your own: data=folder_masks data.root=…", "data")


def _data(data: Masks) -> Iterator[Problem]:
    if data.cache == "always":
        text = "data.cache=always is not there for images with masks"
        yield Problem(text, "data.cache=auto keeps them in memory if they fit", "data.cache")
    if data.balance == "sample":
        text = "data.balance=sample has no effect: an image with a mask has pixels of many classes"
        yield Problem(text, "data.balance=loss weighs its pixels", "data.balance")
    read = isinstance(data, (FolderMasks, PublishedMasks))
    if read and data.on_error == "skip" and not data.verify:
        text = "data.on_error=skip has no effect with data.verify=false"
        yield Problem(text, "set data.verify=true", "data.on_error")
    if isinstance(data, FolderMasks):
        yield from _legend(data)
    if isinstance(data, PublishedMasks):
        yield from _published(data)


def _legend(data: FolderMasks) -> Iterator[Problem]:
    if data.classes is None:
        for name in ("values", "ignore"):
            if getattr(data, name) is not None:
                text = f"data.{name} has no effect without data.classes: root/classes.txt says all"
                yield Problem(text, "give data.classes, too", f"data.{name}")
        return
    for fault in legend.faults(data.classes, data.values, legend.listed(data.ignore)):
        yield Problem(f"data.{fault.key} {fault.text}", fault.hint, f"data.{fault.key}")


def _published(data: PublishedMasks) -> Iterator[Problem]:
    if data.test_fraction is not None:
        text = f"data.test_fraction has no effect: {data.name} has a test split of its own"
        yield Problem(text, "data.test_fraction=null", "data.test_fraction")
    if data.name == UNSENT and data.download:
        text = f"data.download=true has no effect: {data.name} cannot be downloaded"
        yield Problem(text, "data.download=false", "data.download")


def _augment(augment: Augment) -> Iterator[Problem]:
    for name in UNKNOWING:
        if given := getattr(augment, name):
            text = f"augment.{name}={given} knows no masks"
            off = "null" if name == "policy" else "0"
            yield Problem(text, f"set augment.{name}={off}", f"augment.{name}")
