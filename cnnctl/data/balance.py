"""How much more an image of a rare class counts."""

from __future__ import annotations

import numpy as np


def weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """For each class images / (classes x images of it), float64: 1 where all are as large.

    Every class then weighs the same (King, Zeng 2001, section 4).
    """
    return of_counts(np.bincount(labels, minlength=classes))


def of_counts(counts: np.ndarray) -> np.ndarray:
    """The same of how many there are of each class, int64 (classes,)."""
    return counts.sum() / (len(counts) * np.maximum(counts, 1))
