"""Two nets on the same images: how far they are apart, and whether that is more than noise."""

from __future__ import annotations

import math
import os
from typing import Any

from cnnctl.errors import DataError
from cnnctl.scoring import intervals
from cnnctl.scoring.intervals import Interval, Z
from cnnctl.scoring.predictions import Predictions
from cnnctl.scoring.scores import Scores

LEVEL = 0.05  # a p-value below it names a winner
POWER = 0.8416212335729143  # of the normal distribution, 20 % lie above it


def compare(first: Predictions, second: Predictions, seed: int) -> dict[str, Any]:
    """The difference, second minus first, on the images that both have answered.

    `better` is 0 or 1, or null within noise. `images_needed` is how many images it would take to
    tell a difference of this size from noise, null where there is none. Resamples are drawn with
    `seed`.
    """
    both = int((first.right & second.right).sum())
    ahead, behind = (
        int((one.right & ~other.right).sum())
        for one, other in ((second, first), (first, second))
    )  # fmt: skip
    images = len(first)
    p = mcnemar(ahead, behind)
    return {
        "difference": (ahead - behind) / images,
        "interval": paired(ahead, behind, images),
        "loss": _loss(first, second, seed),
        "both_right": both, "only_first_right": behind, "only_second_right": ahead,
        "both_wrong": images - both - ahead - behind,
        "test": "exact McNemar", "p": p,
        "better": int(ahead > behind) if p < LEVEL else None,
        "images_needed": None if p < LEVEL else needed(ahead, behind, images),
    }  # fmt: skip


def same_images(first: Scores, second: Scores, names: tuple[str, str]) -> None:
    """Raise DataError, naming the first that differs, unless both are of the same images.

    `names` are those of the nets. Files may be given by another path to the same place.
    """
    if first.classes != second.classes:
        pairs = zip(first.classes, second.classes, strict=False)
        one, other = next(
            ((a, b) for a, b in pairs if a != b),
            (f"{len(first.classes)} of them", f"{len(second.classes)}"),
        )
        raise DataError(f"{names[0]} and {names[1]} know other classes: {one} and {other}")
    hint = "give both the same: data=…, or data.split_seed=…"
    labels = zip(first.labels.tolist(), second.labels.tolist(), strict=False)
    pairs = zip(first.names, second.names, labels, strict=False)
    for place, (one, other, (label, its)) in enumerate(pairs, start=1):
        if one != other and os.path.realpath(one) != os.path.realpath(other):
            text = f"image {place} of {names[0]} is {one}, of {names[1]} {other}"
            raise DataError(f"they are not measured on the same images: {text}", hint)
        if label != its:
            words = first.classes[label], first.classes[its]
            text = f"{one} is {words[0]} for {names[0]}, {words[1]} for {names[1]}"
            raise DataError(f"they are not measured on the same labels: {text}", hint)
    if len(first) != len(second):
        text = f"{names[0]} has {len(first):,}, {names[1]} {len(second):,}"
        raise DataError(f"they are not measured on the same images: {text}", hint)


def mcnemar(ahead: int, behind: int) -> float:
    """The chance of as many images, or more, that one net alone has right, if both are as good.

    Exact and two-sided: twice the tail of a binomial distribution with 1/2 (McNemar 1947,
    Psychometrika 12; the exact form as in Agresti 2013, Categorical Data Analysis, section 11.1).
    """
    total, fewer = ahead + behind, min(ahead, behind)
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
        for k in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(one - total * math.log(2)) for one in logs))


def paired(ahead: int, behind: int, images: int) -> Interval:
    """95 % interval of the difference of two shares of the same images, within -1..1.

    Agresti, Min 2005 (Statistics in Medicine 24, 729-740): the usual one, after half an image
    has been added to each of the four counts.
    """
    total, ahead_, behind_ = images + 2, ahead + 0.5, behind + 0.5
    middle = (ahead_ - behind_) / total
    half = Z * math.sqrt(ahead_ + behind_ - (ahead_ - behind_) ** 2 / total) / total
    return [max(-1.0, middle - half), min(1.0, middle + half)]


def needed(ahead: int, behind: int, images: int) -> int | None:
    """Images on which such a difference would show four times out of five.

    Connor 1987 (Biometrics 43, 207-211), from the shares of images that one net alone has right.
    """
    apart, gap = (ahead + behind) / images, abs(ahead - behind) / images
    if gap == 0:
        return None
    found = math.ceil((Z * math.sqrt(apart) + POWER * math.sqrt(apart - gap**2)) ** 2 / gap**2)
    return max(found, images + 1)  # so many were not enough


def _loss(first: Predictions, second: Predictions, seed: int) -> dict[str, Any] | None:
    """The difference of the losses, by resampling the images; null without both of them."""
    if first.losses is None or second.losses is None:
        return None
    gaps = (second.losses - first.losses).numpy()
    return {"difference": float(gaps.mean()), "interval": intervals.mean(gaps, seed)}
