"""Stratified splits: each class gives the same share to each part."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from cnnctl.config.images import Data
from cnnctl.errors import DataError


def divide(
    labels: np.ndarray, data: Data, classes: Sequence[str], found: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """The images of train, with `labels`, cut into train and the splits that have to be drawn.

    Indices of `labels`, for train, then val and test. `found` names the other splits that the
    data has. A val that it lacks is drawn by data.val_fraction, or is one of data.folds parts;
    a test is drawn by data.test_fraction, if that is set, and is the same for every fold. To
    cut a val that was found into folds, too, add its images to train and leave it out of
    `found`. Without `classes` all images are alike, and their labels 0. Raises DataError if a
    class has too few images, or data.test_fraction no effect.
    """
    share: float | None = getattr(data, "test_fraction", None)
    if share is not None and "test" in found:
        text = "data.test_fraction has no effect: the data has a test split"
        raise DataError(text, "data.test_fraction=null")
    fractions = {} if "val" in found else {"val": data.val_fraction}
    if share is not None:
        fractions["test"] = share
    if not fractions:
        return {"train": np.arange(len(labels))}
    parts = stratified(labels, fractions, data.split_seed, classes)
    if data.folds is not None and data.fold is not None and "val" in parts:
        rest = np.sort(np.concatenate([parts["train"], parts["val"]]))
        folds = folded(labels[rest], data.folds, data.split_seed, classes)
        parts["val"] = rest[folds[data.fold]]
        parts["train"] = np.setdiff1d(rest, parts["val"])
    return parts


def stratified(
    labels: np.ndarray, fractions: dict[str, float], seed: int, classes: Sequence[str]
) -> dict[str, np.ndarray]:
    """Indices of `labels` for each part named in `fractions`; what is left is `train`.

    The parts depend on the labels, the fractions and the seed alone. Every part gets at
    least one image of every class. Raises DataError, naming the class, if one has too few
    images for that.
    """
    names = ["train", *fractions]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for label, members in _shuffled(labels, seed):
        if len(members) < len(names):
            raise _too_few(classes, label, ", ".join(names), len(members), len(names))
        start = 0
        for name, fraction in fractions.items():
            most = len(members) - start - (len(names) - 1 - names.index(name)) - 1
            take = min(max(1, round(fraction * len(members))), most)
            parts[name].append(members[start : start + take])
            start += take
        parts["train"].append(members[start:])
    return {name: _sorted(found) for name, found in parts.items()}


def folded(labels: np.ndarray, folds: int, seed: int, classes: Sequence[str]) -> list[np.ndarray]:
    """Indices of `labels` in so many parts, each of which has every class.

    Neither the parts nor a class's shares of them differ by more than one image in size. They
    depend on the labels, `folds` and the seed alone. Raises DataError, naming the class, if one
    has fewer images than there are folds.
    """
    parts: list[list[np.ndarray]] = [[] for _ in range(folds)]
    dealt = 0
    for label, members in _shuffled(labels, seed):
        if len(members) < folds:
            raise _too_few(classes, label, f"{folds} folds", len(members), folds)
        for number in range(folds):  # dealing goes on where the class before ended
            parts[(dealt + number) % folds].append(members[number::folds])
        dealt += len(members)
    return [_sorted(found) for found in parts]


def _shuffled(labels: np.ndarray, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Each class, and the indices of its images in random order."""
    generator = np.random.default_rng(seed)
    order = np.argsort(labels, kind="stable")
    found, starts = np.unique(labels[order], return_index=True)
    for label, members in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        yield label, generator.permutation(members)


def _sorted(found: list[np.ndarray]) -> np.ndarray:
    return np.sort(np.concatenate(found))


def _too_few(
    classes: Sequence[str], label: int, purpose: str, has: int, needed: int
) -> DataError:  # fmt: skip
    who, it = (f"class '{classes[label]}'", "it has") if classes else ("the data set", "there are")
    text = f"{who} has too few images for {purpose}"
    return DataError(text, f"{it} {has}, at least {needed} are needed")
