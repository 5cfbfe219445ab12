"""Intervals that hold the true figure 95 times in a hundred, and what they are drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

Z = 1.959963984540054  # of the normal distribution, 2.5 % lie above it
TAILS = (2.5, 97.5)  # percent
RESAMPLES = 1000
ROUNDING = 1e-12  # relative: what sums in another order differ by

Interval = list[float]  # low, high
Statistic = Callable[[np.ndarray], np.ndarray]  # weights float64 (N,) of the images -> figures (K,)


def wilson(hits: int, images: int) -> Interval | None:
    """Of a share of independent images; None of no images.

    Wilson 1927 (Journal of the American Statistical Association 22), as recommended by Brown,
    Cai, DasGupta 2001 (Statistical Science 16, section 3) over the usual p ± 1.96 sqrt(pq/n),
    which says of 359 right out of 359 that nothing else was possible.
    """
    if not images:
        return None
    share, weight = hits / images, Z**2 / images
    middle = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(share * (1 - share) / images + weight / (4 * images))
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return [low, 1.0 if hits == images else min(1.0, middle + half)]


def bootstrap(
    statistic: Statistic,
    images: int,
    seed: int,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> list[Interval | None]:
    """Of each figure that `statistic` makes of the images, within `limits`.

    The images are drawn again with replacement, a thousand times; `statistic` gets how often each
    was drawn. The percentiles of what it gives (Efron, Tibshirani 1993, An Introduction to the
    Bootstrap, chapter 13) are moved by twice the bias (chapter 10): drawing images adds noise, and
    a sum of absolute gaps such as the calibration error is larger for it, once in the figure itself
    and once more in what is drawn. A figure close to a limit, such as the calibration error of a
    net that is calibrated to perfection, is held less often than 95 times in a hundred.

    None for a figure that drawing again does not change: of one image, or where all are right.
    Draws of which a figure is NaN, as that of a class that none of their images has, are left out
    of its interval.
    """
    generator = np.random.default_rng(seed)
    figures = statistic(np.ones(images))
    drawn = np.stack([statistic(weights) for weights in _drawn(generator, images)])
    drawn = np.where(np.isnan(drawn).all(0), 0, drawn)  # numpy warns of columns without a number
    ends = np.nanpercentile(drawn, TAILS, axis=0) - 2 * (np.nanmean(drawn, axis=0) - figures)
    known = np.nanmax(drawn, axis=0) - np.nanmin(drawn, axis=0) > ROUNDING * np.abs(figures)
    held = np.clip(ends, *limits).T.tolist()
    return [one if moves else None for one, moves in zip(held, known.tolist(), strict=True)]


def mean(values: np.ndarray, seed: int) -> Interval | None:
    """Of the mean of values (N,), one for each image."""
    total = len(values)
    return bootstrap(lambda weights: np.array([weights @ values / total]), total, seed)[0]


def _drawn(generator: np.random.Generator, images: int) -> Iterator[np.ndarray]:
    for _ in range(RESAMPLES):
        picked = generator.integers(images, size=images)
        yield np.bincount(picked, minlength=images).astype(np.float64)
