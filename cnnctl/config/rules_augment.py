"""Rules between the random changes of an image, the images and the net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config.images import Augment, Data
from cnnctl.errors import Problem

OWN_LOSS = ("perceptron", "lenet_1998")  # families whose loss knows one class for an image


def augment(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Every rule that the section `augment` breaks, by itself or with the data and the model."""
    chosen = parts.get("augment")
    if chosen is None:
        return
    yield from _randaugment(chosen)
    if chosen.flip_alternates and not 0 < chosen.flip < 1:
        text = f"augment.flip_alternates=true has no effect with augment.flip={chosen.flip:g}"
        yield Problem(text, "set augment.flip=0.5", "augment.flip_alternates")
    if "data" in parts:
        yield from _images(chosen, parts["data"])
    if "model" in parts:
        yield from _labels(chosen, parts["model"])


def _randaugment(chosen: Augment) -> Iterator[Problem]:
    for name, usual in (("ops", 2), ("magnitude", 9)):
        given, key = getattr(chosen, name), f"augment.{name}"
        if chosen.policy == "randaugment" and given is None:
            yield Problem(f"augment.policy=randaugment needs {key}", f"set {key}={usual}", key)
        if chosen.policy != "randaugment" and given is not None:
            text = f"{key}={given} has no effect without augment.policy=randaugment"
            yield Problem(text, f"augment=randaugment, or set {key}=null", key)


def _images(chosen: Augment, data: Data) -> Iterator[Problem]:
    if chosen.colour and data.channels == 1:
        text = f"augment.colour={chosen.colour:g} needs colour images"
        hint = f"data.channels is {data.channels}; set augment.colour=0"
        yield Problem(text, hint, "augment.colour")
    if chosen.deform and chosen.deform[0] < 2:  # noqa: PLR2004 - a line has two ends
        text = f"augment.deform: a smooth distortion takes 2 points a side, got {chosen.deform[0]}"
        yield Problem(text, "the paper of U-Net: augment.deform=[3, 10]", "augment.deform")
    if chosen.elastic is None:
        return
    strength, sigma = chosen.elastic
    most = (2 * data.size - 1) / 8  # the blur reaches 4 sigma, and is reflected once at an edge
    if sigma >= most:
        text = f"augment.elastic: smoothness {sigma:g} is too much for images of {data.size} pixels"
        fits = most / 2
        weaker = strength * (fits / sigma) ** 2  # moves shrink as the image does: strength / sigma
        hint = f"below {most:g}; set augment.elastic=[{weaker:.2g}, {fits:.2g}]"
        yield Problem(text, hint, "augment.elastic")


def _labels(chosen: Augment, model: Mapping[str, Any]) -> Iterator[Problem]:
    family = model.get("family")
    if family not in OWN_LOSS:
        return
    for name in ("mixup", "cutmix"):
        given = getattr(chosen, name)
        if given:
            text = f"augment.{name}={given:g} mixes labels, but the loss of {family} takes one each"
            yield Problem(text, f"set augment.{name}=0", f"augment.{name}")
