"""Nets for masks on the same images: how far apart they are, and if that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnctl.scoring import intervals
from cnnctl.scoring.compare import POWER
from cnnctl.scoring.intervals import Interval, Z
from cnnctl.scoring.masks import MaskScores
from cnnctl.scoring.masks_figures import by_image, drawn, metrics, whole

BESIDE = ("dice", "pixel_accuracy", "boundary_f1", "loss")  # besides miou


def compare(first: MaskScores, second: MaskScores, seed: int) -> dict[str, Any]:
    """The difference in mean IoU, second minus first, and beside it those of other figures.

    Intervals are of the same images drawn again for both (Efron, Tibshirani 1993, chapter 8:
    pairs stay together). `better` is 0 or 1 if that of mean IoU leaves out 0, null within noise;
    then `images_needed` is how many images it would take to tell a difference of this size four
    times out of five, null where there is none. Resamples are drawn with `seed`.
    """
    one, other = (_all(found) for found in (first, second))
    names = ("miou", *BESIDE)
    gaps = np.nan_to_num(other(np.ones(len(first))) - one(np.ones(len(first))))
    ends = intervals.bootstrap(lambda drawn: other(drawn) - one(drawn), len(first), seed)
    known = [metrics(found) for found in (first, second)]
    told = {
        name: {"difference": float(gap), "interval": end}
        for name, gap, end in zip(names, gaps, ends, strict=True)
        if all(each[name] is not None for each in known)
    }
    own, gap = told.pop("miou"), float(gaps[0])
    shows = own["interval"] is not None and not own["interval"][0] <= 0 <= own["interval"][1]
    ahead = by_image(second)["miou"] - by_image(first)["miou"]
    return {
        **own, **{name: told.get(name) for name in BESIDE},
        "first_better": int((ahead < 0).sum()), "second_better": int((ahead > 0).sum()),
        "alike": int((ahead == 0).sum()),
        "test": "paired bootstrap",
        "better": int(gap > 0) if shows else None,
        "images_needed": None if shows else needed(gap, own["interval"], len(first)),
    }  # fmt: skip


def needed(gap: float, interval: Interval | None, images: int) -> int | None:
    """Images on which such a difference would show four times out of five; null of none.

    The error of a mean falls with the square root of their number.
    """
    if interval is None or gap == 0:
        return None
    error = (interval[1] - interval[0]) / (2 * Z)
    return max(images + 1, math.ceil(images * ((Z + POWER) * error / gap) ** 2))


def gains(members: Sequence[MaskScores], together: MaskScores, seed: int) -> dict[str, Any]:
    """What an ensemble gains in mean IoU over the mean of its members, and over the best of them.

    The best on these very images, so that the gain over it is rather too small.
    """
    shares = [metrics(one)["miou"] or 0.0 for one in members]
    best = max(range(len(members)), key=shares.__getitem__)
    several = [_all(one) for one in (together, *members)]

    def gain(weights: np.ndarray) -> np.ndarray:
        own, *others = (one(weights)[:1] for one in several)
        return own - np.mean(others, axis=0)

    return {
        "mean_miou": float(np.mean(shares)), "best": best, "best_miou": shares[best],
        "gain_over_mean": {
            "difference": float(np.nan_to_num(gain(np.ones(len(together))))[0]),
            "interval": intervals.bootstrap(gain, len(together), seed)[0],
        },
        "gain_over_best": compare(members[best], together, seed),
    }  # fmt: skip


def _all(found: MaskScores) -> intervals.Statistic:
    """Mean IoU and the figures of BESIDE, of images that are drawn so often."""
    of = drawn(found)

    def statistic(weights: np.ndarray) -> np.ndarray:
        sides, edge, loss = of(weights)
        return np.array([*whole(*sides)[:3], edge, loss])

    return statistic
