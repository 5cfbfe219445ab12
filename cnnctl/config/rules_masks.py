"""Rules about images with masks, told without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config import tasks
from cnnctl.config.images import Augment, Data
from cnnctl.config.masks import Dice, FolderMasks, Loss, Masks, OfPixels, PublishedMasks
from cnnctl.errors import Problem

FITTING = {  # of a task: data and nets that go with it
    "classify": ("data=digits", "model=lenet5"),
    "segment": ("data=shapes", "model=unet_same"),
    "reconstruct": ("data=digits", "model=autoencoder"),
}
UNKNOWING = ("policy", "erase", "mixup", "cutmix")  # of augment: what knows no masks


def masks(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Every rule between net, images, their changes and the loss that is about masks."""
    data, model, loss = (parts.get(name) for name in ("data", "model", "loss"))
    if data is not None and model is not None:
        yield from _fitting(data, model)
    if isinstance(data, Masks):
        yield from _data(data)
        if "augment" in parts:
            yield from _augment(parts["augment"])
    if loss is not None and model is not None:
        yield from _loss(loss, model)
    if loss is not None and data is not None:
        yield from _weights(loss, data)


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


def _augment(augment: Augment) -> Iterator[Problem]:
    for name in UNKNOWING:
        if given := getattr(augment, name):
            text = f"augment.{name}={given} knows no masks"
            off = "null" if name == "policy" else "0"
            yield Problem(text, f"set augment.{name}={off}", f"augment.{name}")


def _loss(loss: Loss, model: Mapping[str, Any]) -> Iterator[Problem]:
    if loss.name != "own" and tasks.of(model) != "segment":
        text = f"loss={loss.name} is one of pixels, but {model.get('name')} gives no class of each"
        yield Problem(text, "loss=own, or a net for masks: model=unet_same", "loss")
    if isinstance(loss, Dice) and not loss.cross_entropy and loss.border:
        text = "loss.border has no effect without loss.cross_entropy, which it weighs"
        yield Problem(text, "loss.cross_entropy=1, or loss.border=null", "loss.border")


def _weights(loss: Loss, data: Data) -> Iterator[Problem]:
    if isinstance(loss, OfPixels) and loss.weights is not None and data.balance == "loss":
        text = "data.balance=loss has no effect beside loss.weights"
        yield Problem(text, "leave out one of the two", "data.balance")
    if isinstance(loss, OfPixels) and loss.weights is not None and not any(loss.weights):
        yield Problem("loss.weights are all 0", "leave them out", "loss.weights")
