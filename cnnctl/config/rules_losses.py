"""Rules about what training makes small where each pixel has a class, told without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.config import tasks
from cnnctl.config.images import Data
from cnnctl.config.masks import Dice, Focal, Loss, OfPixels
from cnnctl.errors import Problem

WIDEST = 20  # pixels: a border weight looks three and a half times as far, in all directions
SMOOTH = "trainer.label_smoothing"


def losses(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Every rule between the loss, the net, the data and the trainer."""
    loss, model, data, trainer = (
        parts.get(name) for name in ("loss", "model", "data", "trainer")
    )  # fmt: skip
    if loss is not None and model is not None:
        yield from _fitting(loss, model)
    if not isinstance(loss, OfPixels):
        return
    yield from _weights(loss, data)
    yield from _border(loss)
    if isinstance(loss, Dice) and not loss.cross_entropy:
        yield from _alone(loss, data)
    if trainer is not None and trainer.label_smoothing:
        yield from _smoothed(loss, trainer.label_smoothing)


def _fitting(loss: Loss, model: Mapping[str, Any]) -> Iterator[Problem]:
    if loss.name != "own" and tasks.of(model) != "segment":
        text = f"loss={loss.name} is one of pixels, but {model.get('name')} gives no class of each"
        yield Problem(text, "loss=own, or a net for masks: model=unet_same", "loss")


def _weights(loss: OfPixels, data: Data | None) -> Iterator[Problem]:
    if loss.weights is None:
        return
    if data is not None and data.balance == "loss":
        text = "data.balance=loss has no effect beside loss.weights"
        yield Problem(text, "leave out one of the two", "data.balance")
    if not any(loss.weights):
        yield Problem("loss.weights are all 0", "leave them out", "loss.weights")


def _border(loss: OfPixels) -> Iterator[Problem]:
    if loss.border is not None and loss.border[1] > WIDEST:
        text = f"loss.border: within at most {WIDEST} pixels, got {loss.border[1]:g}"
        yield Problem(text, "the paper's are loss.border=[10,5]", "loss.border")


def _alone(loss: Dice, data: Data | None) -> Iterator[Problem]:
    """Of Dice without cross-entropy, which is what counts pixel by pixel."""
    text = "has no effect without loss.cross_entropy, which it weighs"
    if loss.border is not None:
        yield Problem(f"loss.border {text}", "loss.cross_entropy=1, or null", "loss.border")
    if loss.weights is not None:
        yield Problem(f"loss.weights {text}", "loss.cross_entropy=1, or null", "loss.weights")
    if data is not None and data.balance == "loss":
        hint = "loss.cross_entropy=1, or data.balance=none"
        yield Problem(f"data.balance=loss {text}", hint, "data.balance")


def _smoothed(loss: OfPixels, share: float) -> Iterator[Problem]:
    if isinstance(loss, Dice) and not loss.cross_entropy:
        text = f"{SMOOTH}={share:g} has no effect without loss.cross_entropy"
        yield Problem(text, f"loss.cross_entropy=1, or {SMOOTH}=0", SMOOTH)
    if isinstance(loss, Focal):
        text = f"{SMOOTH}={share:g} has no effect on loss=focal"
        yield Problem(text, f"loss=cross_entropy, or {SMOOTH}=0", SMOOTH)
