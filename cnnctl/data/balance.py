"""How much more an image of a rare class counts."""

from __future__ import annotations

import numpy as np


def weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """For each class images / (classes x images of it), float64: 1 where all are as large.

    Every class then weighs the same (King, Zeng 2001, section 4).
    """
    return of_counts(np.bincount(labels, minlength=classes))


def of_counts(counts: np.ndarray) -> np.ndarray:
    """The same of how many there are of each class, int64 (classes,).

    A class of which none was counted weighs as much as the rarest that was: of pixels only some
    are counted, and labels that are smoothed have a share of every class.
    """
    least = counts[counts > 0].min(initial=counts.sum() or 1)
    return counts.sum() / (len(counts) * np.maximum(counts, least))
