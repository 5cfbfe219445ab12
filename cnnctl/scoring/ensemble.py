"""Several nets as one: the mean of their probabilities, and what it gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from cnnctl.scoring import intervals
from cnnctl.scoring.compare import compare
from cnnctl.scoring.predictions import Predictions
from cnnctl.scoring.scorer import TINY
from cnnctl.scoring.scores import Scores


def together(members: Sequence[Scores]) -> Scores:
    """The scores of the mean of the members' probabilities on the same images.

    Its logits are logarithms of probabilities; `seconds` is the sum of the members'.
    """
    first = members[0]
    total = torch.zeros(first.logits.shape, dtype=torch.float64)
    for one in members:
        total += one.logits.double().softmax(1)
    logits = (total / len(members)).clamp(min=TINY).log()
    loss = float(cross_entropy(logits, first.labels))
    seconds = sum(one.seconds for one in members)
    return Scores(first.classes, first.names, first.labels, logits.float(), loss, seconds)


def gains(members: Sequence[Predictions], whole: Predictions, seed: int) -> dict[str, Any]:
    """What the ensemble `whole` gains over the mean of its members, and over the best of them.

    The best by top-1 on these very images, so that the gain over it is rather too small. Gains
    are in top-1, and in loss where it is known of all; a gain in loss is what it falls by.
    """
    shares = [float(one.right.double().mean()) for one in members]
    best = max(range(len(members)), key=shares.__getitem__)
    mean = torch.stack([one.right.double() for one in members]).mean(0)
    told: dict[str, Any] = {
        "mean_top1": float(mean.mean()),
        "best": best,
        "best_top1": shares[best],
        "gain_over_mean": _gain(whole.right.double() - mean, seed),
        "gain_over_best": compare(members[best], whole, seed),
        "loss_gain_over_mean": None,
    }
    losses = [one.losses for one in members]
    known = [one for one in losses if one is not None]
    if len(known) == len(losses) and whole.losses is not None:
        told["loss_gain_over_mean"] = _gain(torch.stack(known).mean(0) - whole.losses, seed)
    return told


def _gain(values: torch.Tensor, seed: int) -> dict[str, Any]:
    """Mean and interval of a difference (N,), image by image."""
    return {
        "difference": float(values.mean()),
        "interval": intervals.mean(values.numpy(), seed),
    }
