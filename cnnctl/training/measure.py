"""How good a net is on one split, by class too."""

from __future__ import annotations

import time
from typing import Any

import torch

from cnnctl import devices, nets, weights
from cnnctl.config import schema
from cnnctl.data.module import DataModule
from cnnctl.data.source import Source
from cnnctl.devices import Device
from cnnctl.errors import DataError, UsageError
from cnnctl.nets.net import Net
from cnnctl.nets.spec import Spec
from cnnctl.tasks.classify import Classify
from cnnctl.training import engine
from cnnctl.training.noise import plain_errors, quiet
from cnnctl.weights import Checkpoint


def checkpoint(
    saved: Checkpoint, train: schema.Train, spec: Spec, source: Source, split: str
) -> dict[str, Any]:
    """Figures of a saved net on one split of `source`.

    Raises DataError if the split is missing or its classes are not those of the net,
    CheckpointError if the weights do not fit the net of `spec`, UsageError for several devices.
    """
    _same_classes(saved, source.classes)
    if split not in source.splits:
        has = ", ".join(source.splits)
        raise DataError(f"{train.data.name} has no split '{split}', only {has}")
    device = devices.settle(train.hardware)
    if device.world > 1:
        raise UsageError(f"evaluate uses one device, got {device.world}", "hardware.devices=1")
    shape = (train.data.channels, train.data.size, train.data.size)
    net = nets.build(spec, num_classes=len(source.classes), shape=shape)
    weights.load(net, saved)
    return measure(net, source, train, split, device)


def measure(
    net: Net, source: Source, train: schema.Train, split: str, device: Device
) -> dict[str, Any]:
    """Figures of `net` on one split, by class too; keys are those of the JSON contract."""
    task = Classify(net, len(source.classes), mirror=train.trainer.test_flip)
    module = DataModule(source, train, measured=split)
    with quiet(), plain_errors():
        began = time.perf_counter()
        engine.build(device, logger=False).test(task, datamodule=module, verbose=False)
        seconds = time.perf_counter() - began
    return {
        "n": task.images["test"],
        "metrics": figures(task.figures["test"]),
        "per_class": by_class(task.confusion, source.classes),
        "seconds": seconds,
        "weights_sha256": weights.sha256(net.state_dict()),
    }


def by_class(confusion: torch.Tensor, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Recall, precision and F1 of each class from counts (true, predicted); null for 0 / 0."""

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    true, guessed = confusion.sum(1).tolist(), confusion.sum(0).tolist()
    hits = confusion.diagonal().tolist()
    return [
        {
            "class": name, "n": true[i],
            "recall": share(hits[i], true[i]), "precision": share(hits[i], guessed[i]),
            "f1": share(2 * hits[i], true[i] + guessed[i]),
        }
        for i, name in enumerate(classes)
    ]  # fmt: skip


def figures(means: dict[str, float] | None) -> dict[str, float | None] | None:
    """top1, top5 (null with five classes or fewer), loss, ece; null without that split."""
    if means is None:
        return None
    ece = {"ece": means["ece"]} if "ece" in means else {}
    return {"top1": means["top1"], "top5": means.get("top5"), "loss": means["loss"], **ece}


def _same_classes(saved: Checkpoint, classes: tuple[str, ...]) -> None:
    """A net's outputs mean the classes it was trained on, in their order."""
    if saved.classes != classes:
        trained, given = ", ".join(saved.classes[:5]), ", ".join(classes[:5])
        text = f"the net knows {len(saved.classes)} classes ({trained}, …)"
        text += f", the data has {len(classes)} ({given}, …)"
        raise DataError(text, "evaluate on data with the same classes")
