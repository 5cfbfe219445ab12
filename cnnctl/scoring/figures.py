"""How good a net is on a split: figures, their intervals, class by class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from cnnctl.scoring import calibration, intervals
from cnnctl.scoring.intervals import Interval
from cnnctl.scoring.predictions import Predictions

CONFUSED = 10  # pairs of classes that are told
MACRO = ("macro_precision", "macro_recall", "macro_f1")


def figures(found: Predictions, seed: int) -> dict[str, Any]:
    """Keys `n, metrics, intervals, per_class, confusion, confused` of the JSON contract.

    Resamples are drawn with `seed`.
    """
    names = found.scores.classes
    counts = multiclass_confusion_matrix(found.predicted, found.scores.labels, len(names))
    measured = metrics(found, counts)
    return {
        "n": len(found),
        "metrics": measured,
        "intervals": _intervals(found, measured, seed),
        "per_class": by_class(counts, names),
        "confusion": counts.tolist(),
        "confused": confused(counts, names),
    }


def metrics(found: Predictions, counts: torch.Tensor) -> dict[str, float | None]:
    """Shares of all images, means of the classes' figures, loss and calibration error.

    `counts` is (true, predicted). top5 is null with five classes or fewer, loss where the net's
    own is not known, or is no number.
    """
    many, loss = found.among_top5, found.scores.loss
    top1 = float(found.right.double().mean())
    top5 = None if many is None else float(many.double().mean())
    hits, true, guessed = (side.double().numpy() for side in _sides(counts))
    return {
        "top1": top1, "top1_error": 1 - top1,
        "top5": top5, "top5_error": None if top5 is None else 1 - top5,
        "loss": loss if loss is None or math.isfinite(loss) else None,
        **dict(zip(MACRO, macro(hits, true, guessed).tolist(), strict=True)),
        "ece": calibration.ece(found.scores.probabilities, found.scores.labels),
    }  # fmt: skip


def macro(hits: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> np.ndarray:
    """Means over the classes of precision, recall and F1, from counts (classes,) of each.

    As torchmetrics takes them: 0 / 0 counts as 0, and a class that is neither on an image nor
    predicted does not count.
    """
    parts = np.stack([hits, hits, 2 * hits])
    wholes = np.stack([guessed, true, true + guessed])
    shares = np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)
    return shares.sum(1) / np.count_nonzero(wholes[2])


def by_class(counts: torch.Tensor, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Recall, precision and F1 of each class from counts (true, predicted); null for 0 / 0."""

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    hits, true, guessed = (side.tolist() for side in _sides(counts))
    return [
        {
            "class": name, "n": true[i],
            "recall": share(hits[i], true[i]), "precision": share(hits[i], guessed[i]),
            "f1": share(2 * hits[i], true[i] + guessed[i]),
            "recall_interval": intervals.wilson(hits[i], true[i]),
        }
        for i, name in enumerate(classes)
    ]  # fmt: skip


def confused(counts: torch.Tensor, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """The pairs of classes that are mistaken most often, the most frequent first."""
    wrong = counts.clone().fill_diagonal_(0).flatten()
    order = wrong.argsort(descending=True, stable=True)[:CONFUSED].tolist()
    return [
        {
            "true": classes[place // len(classes)], "predicted": classes[place % len(classes)],
            "n": int(wrong[place]),
        }
        for place in order
        if wrong[place]
    ]  # fmt: skip


def _intervals(
    found: Predictions, measured: dict[str, float | None], seed: int
) -> dict[str, Interval | None]:
    """Of shares by Wilson, of the others by resampling the images."""
    top5 = found.among_top5
    shares = {"top1": intervals.wilson(int(found.right.sum()), len(found))}
    shares["top5"] = None if top5 is None else intervals.wilson(int(top5.sum()), len(found))
    errors = {f"{name}_error": _other(ends) for name, ends in shares.items()}
    *means, ece = intervals.bootstrap(_averages(found), len(found), seed, (0.0, 1.0))
    loss = None if found.losses is None else intervals.mean(found.losses.numpy(), seed)
    all_of_them = shares | errors | dict(zip(MACRO, means, strict=True))
    all_of_them |= {"loss": loss, "ece": ece}
    return {name: all_of_them[name] for name in measured}


def _averages(found: Predictions) -> intervals.Statistic:
    """Macro figures and the calibration error, for images that are drawn so many times."""
    classes = len(found.scores.classes)
    labels, predicted = found.scores.labels.numpy(), found.predicted.numpy()
    right = found.right.numpy().astype(np.float64)
    bins = calibration.placed(found.probability)
    gaps = found.probability.double().numpy() - right

    def averages(weights: np.ndarray) -> np.ndarray:
        hits = np.bincount(labels, weights * right, classes)
        true = np.bincount(labels, weights, classes)
        guessed = np.bincount(predicted, weights, classes)
        return np.append(macro(hits, true, guessed), calibration.error(bins, gaps, weights))

    return averages


def _sides(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hits, images and predictions of each class."""
    return counts.diagonal(), counts.sum(1), counts.sum(0)


def _other(ends: Interval | None) -> Interval | None:
    """Of what is left of 1."""
    return None if ends is None else [1 - ends[1], 1 - ends[0]]
