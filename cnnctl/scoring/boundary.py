"""How well the outlines of classes are met (Csurka, Larlus, Perronnin 2013)."""

from __future__ import annotations

import math

import numpy as np

from cnnctl.config.masks import IGNORE
from cnnctl.data import neighbours

TOLERANCE = 0.0075  # of the image's diagonal: the paper's


def f1(predicted: np.ndarray, mask: np.ndarray, classes: int, share: float) -> np.ndarray:
    """Boundary F1 of each class in one image, float64 (classes,); NaN where it has no outline.

    `predicted` and `mask` are classes, (H, W); `share` of the diagonal is the tolerance. An outline
    is made of the pixels of a class beside which, above, below, left or right, is another class;
    the edge of the image is none. Precision is the share of the predicted outline no further than
    the tolerance from that of the mask, recall the reverse. A class with one outline alone has 0.

    Ignored pixels within the tolerance of others take the class of the nearest: the outlines of
    some data sets lie in ignored rims. Those further away are without a class on both sides.
    """
    height, width = mask.shape
    tolerance = share * math.hypot(height, width)
    mask = completed(mask, tolerance)
    predicted = np.where(mask == IGNORE, IGNORE, predicted)
    reach = math.floor(tolerance)
    found, wanted = (_outline(one, reach) for one in (predicted, mask))
    line, size = width + reach, (height + 2 * reach) * (width + reach)
    met = [
        np.bincount(one[_met(one, other, tolerance, line)] // size, minlength=classes)
        for one, other in ((found, wanted), (wanted, found))
    ]
    sizes = [np.bincount(one // size, minlength=classes) for one in (found, wanted)]
    precision, recall = (
        np.divide(part, whole, out=np.zeros(classes), where=whole > 0)
        for part, whole in zip(met, sizes, strict=True)
    )
    both = precision + recall
    score = np.divide(2 * precision * recall, both, out=np.zeros(classes), where=both > 0)
    return np.where(sizes[0] + sizes[1] > 0, score, np.nan)


def completed(mask: np.ndarray, reach: float) -> np.ndarray:
    """The mask, with ignored pixels within `reach` of others of the class of the nearest.

    Of equally near ones the first in reading order.
    """
    ignored = mask == IGNORE
    if not ignored.any():
        return mask
    side = math.floor(reach)
    places = np.flatnonzero(ignored & neighbours.near(~ignored, side))
    y, x = np.divmod(places, mask.shape[1])
    line = mask.shape[1] + 2 * side
    inside = (y + side) * line + x + side
    known = np.pad(mask, side, constant_values=IGNORE).reshape(-1)
    found = mask.copy().reshape(-1)
    for _, step in neighbours.around(reach, line):
        seen = known[inside + step]
        new = seen != IGNORE
        found[places[new]] = seen[new]
        places, inside = places[~new], inside[~new]
    return found.reshape(mask.shape)


def _outline(labels: np.ndarray, reach: int) -> np.ndarray:
    """The pixels of all outlines, as sorted numbers of class, line and column.

    Between lines there are as many columns as a search goes beyond an end, between classes as
    many lines: what is searched for in one is never found in another.
    """
    edge = np.zeros(labels.shape, bool)
    known = labels != IGNORE
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        apart = (labels[one] != labels[other]) & known[one] & known[other]
        edge[one] |= apart
        edge[other] |= apart
    y, x = np.nonzero(edge)
    height, width = labels.shape
    line = labels[y, x].astype(np.int64) * (height + 2 * reach) + y + reach
    return np.sort(line * (width + reach) + x)


def _met(points: np.ndarray, others: np.ndarray, tolerance: float, line: int) -> np.ndarray:
    """Whether each of `points` has one of `others` within the tolerance; bool, as `points`."""
    found = np.zeros(len(points), bool)
    ends = np.append(others, np.iinfo(np.int64).max)
    reach = math.floor(tolerance)
    left = np.arange(len(points))
    for down in sorted(range(-reach, reach + 1), key=abs):  # most have one beside them
        beside = math.floor(math.sqrt(tolerance**2 - down**2))
        middle = points[left] + down * line
        near = ends[np.searchsorted(others, middle - beside)] <= middle + beside
        found[left[near]] = True
        left = left[~near]
    return found
