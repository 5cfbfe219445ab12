"""Stratified splits: each class gives the same share to each part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnctl.errors import DataError


def stratified(
    labels: np.ndarray, fractions: dict[str, float], seed: int, classes: Sequence[str]
) -> dict[str, np.ndarray]:
    """Indices of `labels` for each part named in `fractions`; what is left is `train`.

    The parts depend on the labels, the fractions and the seed alone. Every part gets at
    least one image of every class. Raises DataError, naming the class, if one has too few
    images for that.
    """
    generator = np.random.default_rng(seed)
    parts: dict[str, list[int]] = {"train": [], **{name: [] for name in fractions}}
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) <= len(fractions):
            text = f"class '{classes[label]}' has too few images for {', '.join(parts)}"
            raise DataError(text, f"it has {len(members)}, at least {len(parts)} are needed")
        start = 0
        for name, fraction in fractions.items():
            most = len(members) - start - (len(parts) - 1 - list(parts).index(name)) - 1
            take = min(max(1, round(fraction * len(members))), most)
            parts[name] += members[start : start + take].tolist()
            start += take
        parts["train"] += members[start:].tolist()
    return {name: np.sort(np.array(indices, np.int64)) for name, indices in parts.items()}
