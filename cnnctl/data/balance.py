"""How much more an image of a rare class counts."""

from __future__ import annotations

import numpy as np


def weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """For each class images / (classes x images of it), float64: 1 where all are as large.

    Every class then weighs the same (King, Zeng 2001, section 4).
    """
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (classes * np.maximum(counts, 1))
