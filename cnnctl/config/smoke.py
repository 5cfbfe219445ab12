"""A training as a trial of seconds: every part of it runs to the end, on a few images."""

from __future__ import annotations

import dataclasses
from typing import Any

from cnnctl.config.duration import Duration
from cnnctl.config.images import Fake
from cnnctl.config.masks import MASKS, Shapes

EPOCHS = 2  # so that a schedule cuts once
CLASSES = 6  # the least of which a top-5 can be wrong
BATCH = 3  # batch statistics of maps of 1x1 want several
SIDE = 80  # pixels that leave something in every net, the branches of GoogLeNet's aux included
DIGITS = {"val_fraction": 0.1, "test_fraction": 0.8}  # 180 images are left to train on
NOISE = {"images": 3 * CLASSES, "val_fraction": 1 / 3, "test_fraction": 1 / 3}
SHAPES = {"name": "shapes", "source": "shapes of a smoke run", "noise": 0.1, "resize": None}
LEAST = 30  # percent: one step of the two or four, so that a warm-up of 1 % is one at all


def shrink(config: dict[str, Any]) -> dict[str, Any]:
    """`config`, composed and checked, for two epochs of a few steps; the argument is unchanged.

    Noise takes the place of all images but the digits, which are few: up to six classes, 80
    pixels. Shapes take that of images with masks; their classes are others, and so weights of
    classes go. Lengths become shares of the shorter training, and the learning rate shrinks as the
    batch does (Goyal et al. 2017, section 2.1), so that it stays finite. Net, update rule,
    changes of images, losses and averages stay as they are; what depends on the machine goes:
    several devices, float16, torch.compile, workers, wandb. What has been shrunk stays as it is.
    """
    data, trainer = _data(config["data"], config["model"]), _trainer(config["trainer"])
    before = config["data"]["batch_size"] * config["trainer"]["accumulate"]
    share = data["batch_size"] * trainer["accumulate"] / before
    return config | {
        "data": data,
        "trainer": trainer,
        "loss": _loss(config["loss"], other=config["data"]["name"] != data["name"]),
        "optimizer": _optimizer(config["optimizer"], share),
        "schedule": _schedule(config["schedule"], config["trainer"]),
        "hardware": _hardware(config["hardware"]),
        "transfer": config["transfer"] | _ones(config["transfer"], "unfreeze_every"),
        "logger": {"name": "local"},
    }


def _data(data: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    data = data | {"workers": 0, "folds": None, "fold": None}
    data |= _ones(data, "windows")
    if data["name"] == "digits":
        return data | DIGITS
    made = {
        "name": "fake", "licence": "none needed", "source": "noise of a smoke run",
        "batch_size": min(data["batch_size"], BATCH), **NOISE,
    }  # fmt: skip
    if data["name"] in MASKS:
        made |= SHAPES
    else:
        made["classes"] = min(data.get("classes", CLASSES), CLASSES)
    if model["family"] != "library":  # whose nets may be made for one size
        made["size"] = min(data["size"], SIDE)
    kind = Shapes if data["name"] in MASKS else Fake
    return {one.name: made.get(one.name, data.get(one.name)) for one in dataclasses.fields(kind)}


def _loss(loss: dict[str, Any], *, other: bool) -> dict[str, Any]:
    """Without weights for the classes of other data."""
    return loss | ({"weights": None} if other and "weights" in loss else {})


def _trainer(trainer: dict[str, Any]) -> dict[str, Any]:
    return trainer | {
        "max_epochs": EPOCHS,
        "max_steps": None,
        "accumulate": min(trainer["accumulate"], 2),
        "compile": False,
        "swa": None if trainer["swa"] is None else "50%",
    }


def _optimizer(optimizer: dict[str, Any], share: float) -> dict[str, Any]:
    """Scaled already where the configuration asks for it."""
    scaled = optimizer["scaling"] == "none"
    return optimizer | {"lr": optimizer["lr"] * share if scaled else optimizer["lr"]}


def _schedule(schedule: dict[str, Any], trainer: dict[str, Any]) -> dict[str, Any]:
    """Every cut of the learning rate comes after the first epoch."""
    cuts = _ones(schedule, "every") | ({"milestones": [1]} if "milestones" in schedule else {})
    patience = {"patience": 0} if "patience" in schedule else {}
    return schedule | {"warmup": _share(schedule["warmup"], trainer)} | cuts | patience


def _share(length: str | int, trainer: dict[str, Any]) -> str | int:
    """`length` as a share of the training; nothing stays nothing."""
    whole = {"epochs": trainer["max_epochs"], "steps": trainer["max_steps"], "%": 100}
    duration = Duration.parse(length)
    if duration.amount == 0:
        return length
    share = 100 * duration.amount / (whole[duration.unit] or float("inf"))
    return f"{min(max(share, LEAST), 100):g}%"


def _hardware(hardware: dict[str, Any]) -> dict[str, Any]:
    alone = {"devices": 1, "num_nodes": 1, "strategy": "auto"}
    alone |= {"sync_batchnorm": False, "matmul": "highest"}
    if hardware["precision"].startswith("16"):  # which no CPU has
        alone["precision"] = "32-true"
    if hardware["accelerator"] != "cpu":
        alone["accelerator"] = "auto"
    return hardware | alone


def _ones(section: dict[str, Any], name: str) -> dict[str, int]:
    return {name: 1} if section.get(name) is not None else {}
