"""Rules about nets that make images anew, told without torch: labels play no part in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config import tasks
from cnnctl.config.verbs import Evaluate
from cnnctl.errors import Problem


def reconstruct(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Every key of a training that has no effect on such a net."""
    model = parts.get("model")
    if model is None or tasks.of(model) != "reconstruct":
        return
    name = f"{model.get('name')}, which makes images anew"
    if "trainer" in parts and (given := parts["trainer"].label_smoothing):
        text = f"trainer.label_smoothing={given:g} has no effect on {name}"
        yield Problem(text, "set trainer.label_smoothing=0", "trainer.label_smoothing")
    if "data" in parts and parts["data"].balance == "loss":
        text = f"data.balance=loss has no effect on {name}"
        yield Problem(text, "data.balance=sample", "data.balance")
    for key in ("mixup", "cutmix"):
        given = getattr(parts.get("augment"), key, 0)
        if given:
            text = f"augment.{key}={given:g} mixes labels, which have no effect on {name}"
            yield Problem(text, f"set augment.{key}=0", f"augment.{key}")
    if "transfer" in parts and parts["transfer"].name != "none":
        text = f"transfer={parts['transfer'].name} is for nets that name classes, not for {name}"
        yield Problem(text, "transfer=none: all layers learn, from pretrained=… on", "transfer")


def evaluate(typed: Evaluate) -> Iterator[Problem]:
    """Keys of `cnnctl evaluate` that are about classes or masks."""
    given = {
        "crops": typed.crops if typed.crops != "center" else None,
        "scales": typed.scales and ",".join(map(str, typed.scales)),
        "tile": typed.tile,
        "boundary": typed.boundary,
        "robustness": typed.robustness and ",".join(typed.robustness),
    }
    for key, value in given.items():
        if value is not None:
            text = f"{key}={value} has no effect on a net that makes whole images anew"
            yield Problem(text, "leave it out", key)
    if typed.predictions == "parquet":
        text = "predictions=parquet is for classes: figures of images are kept as csv"
        yield Problem(text, "predictions=csv", "predictions")
