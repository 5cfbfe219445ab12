"""Whether a net is right as often as it says: the reliability curve, and one number to mend it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error

from cnnctl.scoring.predictions import Predictions
from cnnctl.scoring.scores import Scores
from cnnctl.tasks.classify import BINS

SHARPEST, FLATTEST = 0.01, 100.0  # temperatures between which one is looked for
STEPS = 50  # of Newton's method; a handful is usual
CLOSE = 1e-10  # relative change of the temperature at which it is found


def placed(probability: Tensor) -> np.ndarray:
    """The bin of each image, int64 (N,), from the probability float32 (N,) of its prediction.

    15 bins of one width (Guo et al. 2017, On Calibration of Modern Neural Networks, section 2);
    as torchmetrics counts, exactly 1 has a bin of its own, the sixteenth.
    """
    edges = torch.linspace(0, 1, BINS + 1, dtype=probability.dtype)
    return (torch.bucketize(probability.contiguous(), edges, right=True) - 1).numpy()


def error(bins: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> float:
    """The expected calibration error, 0..1: mean distance of probability and share of hits.

    `gaps` is probability - hit for each image, `weights` how often it counts.
    """
    return float(np.abs(np.bincount(bins, weights * gaps, BINS + 1)).sum() / weights.sum())


def curve(probability: Tensor, right: Tensor) -> list[dict[str, Any]]:
    """The reliability curve: bins with an image, their mean probability and share of hits."""
    bins, said, hits = placed(probability), probability.double().numpy(), right.numpy()
    return [
        {
            "low": number / BINS, "high": min(1.0, (number + 1) / BINS),
            "confidence": float(said[bins == number].mean()),
            "accuracy": float(hits[bins == number].mean()),
            "n": int((bins == number).sum()),
        }
        for number in np.unique(bins).tolist()
    ]  # fmt: skip


def ece(probabilities: Tensor, labels: Tensor) -> float:
    """The expected calibration error of these images, 0..1, as training finds it.

    Of probabilities float32 (N, classes) and labels (N,); `error` is the same in float64.
    """
    classes = probabilities.shape[1]
    return float(multiclass_calibration_error(probabilities, labels, classes, n_bins=BINS))


def temperature(logits: Tensor, labels: Tensor) -> tuple[float | None, str | None]:
    """What the logits (N, classes) are to be divided by for the least cross-entropy, or why not.

    Guo et al. 2017, section 4.2. Cross-entropy is convex in 1 / temperature; its derivative is
    searched for 0 by Newton's steps, and by halving where they would leave what is left to search.
    """
    values = logits.double()
    values = values - values.amax(1, keepdim=True)
    own = values.gather(1, labels[:, None])[:, 0].mean()

    def slopes(beta: float) -> tuple[float, float]:
        """First and second derivative of the cross-entropy."""
        shares = (beta * values).softmax(1)
        means = (shares * values).sum(1)
        spread = (shares * values.square()).sum(1) - means.square()
        return float(means.mean() - own), float(spread.mean())

    low, high = 1 / FLATTEST, 1 / SHARPEST
    if slopes(low)[0] >= 0:
        return (
            None,
            "the net does not beat guessing on val: the higher the temperature, the lower the loss",
        )
    if slopes(high)[0] <= 0:
        return None, "no image of val is wrong: the lower the temperature, the lower the loss"
    beta = 1.0
    for _ in range(STEPS):
        slope, bend = slopes(beta)
        low, high = (beta, high) if slope < 0 else (low, beta)
        step = beta - slope / bend if bend > 0 else low
        step = step if low < step < high else (low + high) / 2
        if abs(step - beta) <= CLOSE * beta:
            break
        beta = step
    return 1 / beta, None


def calibration(found: Predictions, val: Scores | None, why: str | None) -> dict[str, Any]:
    """The curve, and figures before and after dividing by the temperature that `val` gives.

    Without `val`, `why` says the reason.
    """
    scores = found.scores
    warmth, reason = (None, why) if val is None else temperature(val.logits, val.labels)
    told: dict[str, Any] = {
        "bins": curve(found.probability, found.right),
        "ece": ece(scores.probabilities, scores.labels),
        "loss": float(cross_entropy(scores.logits.double(), scores.labels)),
        "temperature": warmth,
        "fitted_on": None if val is None else {"split": "val", "n": len(val)},
        "reason": reason, "after": None,
    }  # fmt: skip
    if warmth is not None:
        logits = scores.logits.double() / warmth
        probabilities = logits.softmax(1).float()
        probability = probabilities.gather(1, found.predicted[:, None])[:, 0]
        told["after"] = {
            "bins": curve(probability, found.right),
            "ece": ece(probabilities, scores.labels),
            "loss": float(cross_entropy(logits, scores.labels)),
        }  # fmt: skip
    return told
