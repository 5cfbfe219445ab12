"""Where neighbours nearly touch: the weights with which U-Net learns to keep them apart."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cnnctl.config.masks import IGNORE
from cnnctl.data.neighbours import around, near
from cnnctl.data.pairs import Held, Pairs

WHOLE = 255  # of a weight as a byte: e^0
OFTEN = 8  # neighbours between two looks at which pixels are done
DONE = -1


class Bordered(Pairs):
    """Pairs whose masks have a second plane: what each pixel weighs for lying at a border.

    In 255ths of w0, see `weights`; deviations are in pixels of the mask as it is stored. It is
    kept of pairs that are in memory, and computed again of others.
    """

    def __init__(self, pairs: Pairs, deviation: float) -> None:
        self.pairs = pairs
        self.deviation = deviation
        self.labels = pairs.labels
        self.kept: dict[int, Tensor] | None = {} if isinstance(pairs, Held) else None

    def __getitem__(self, index: int, /) -> Tensor:
        return self.pairs[index]

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """As `Pairs` has it, with a mask uint8 (2, H, W)."""
        image, mask = self.pairs.pair(index)
        plane = None if self.kept is None else self.kept.get(index)
        if plane is None:
            plane = torch.from_numpy(weights(mask[0].numpy(), self.deviation))[None]
            if self.kept is not None:
                self.kept[index] = plane
        return image, torch.cat((mask, plane))

    def name(self, index: int) -> str:
        """The file of the image."""
        return self.pairs.name(index)

    def pick(self, indices: np.ndarray) -> Bordered:
        """The pairs at `indices`, in that order."""
        return Bordered(self.pairs.pick(indices), self.deviation)


def weights(mask: np.ndarray, deviation: float) -> np.ndarray:
    """exp(−(d1 + d2)² / (2 deviation²)) of pixels of class 0, in 255ths: uint8 (H, W).

    d1 and d2 are the distances to the nearest and the second nearest component of the other
    classes, between the centres of pixels (Ronneberger et al. 2015, equation 2). A component is
    what hangs together by sides and is of one class: two classes that touch are two neighbours.
    Pixels of other classes have 0, and so have ignored ones, which belong to no component either.
    """
    found = np.zeros(mask.shape, np.uint8)
    reach = deviation * math.sqrt(2 * math.log(2 * WHOLE))  # beyond it the term rounds to 0
    places, sums = _apart(components(mask), np.flatnonzero(mask == 0), reach)
    term = np.exp(-(sums**2) / (2 * deviation**2))
    found.reshape(-1)[places] = np.rint(WHOLE * term).astype(np.uint8)
    return found


def components(mask: np.ndarray) -> np.ndarray:
    """What hangs together by sides and is of one class, numbered from 1: int32 (H, W).

    Class 0 and ignored pixels have 0. Runs of each line are joined to those of the next, all at
    once, until nothing changes: each time at least every second component that has to be joined
    finds another.
    """
    begins = np.ones(mask.shape, bool)
    begins[:, 1:] = mask[:, 1:] != mask[:, :-1]
    runs = begins.reshape(-1).cumsum().reshape(mask.shape) - 1
    counts = (mask != 0) & (mask != IGNORE)
    joined = (mask[1:] == mask[:-1]) & counts[1:]
    joined[:, 1:] &= begins[1:, 1:] | begins[:-1, 1:]  # of two runs side by side once is enough
    roots = _joined(int(runs[-1, -1]) + 1, runs[:-1][joined], runs[1:][joined])
    _, numbers = np.unique(np.where(counts, roots[runs], -1), return_inverse=True)
    first = 1 if counts.all() else 0
    return (numbers.reshape(mask.shape) + first).astype(np.int32)


def _joined(count: int, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """The least of those that each of 0…count − 1 is joined to, through any number of others."""
    roots = np.arange(count)
    while True:
        one, other = roots[upper], roots[lower]
        apart = one != other
        if not apart.any():
            return roots
        one, other, upper, lower = one[apart], other[apart], upper[apart], lower[apart]
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while (roots != (further := roots[roots])).any():
            roots = further


def _apart(labels: np.ndarray, places: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Of pixels of no component those with d1 + d2 <= reach, and this sum.

    `places` are flat indices. Neighbours are looked at from the nearest on, so the first component
    that is met is the nearest, and the first other one the second. Pixels that have none within
    half of the reach are done, and so are those that have two.
    """
    side = math.ceil(reach)
    width = labels.shape[1] + 2 * side
    padded = np.pad(labels, side).reshape(-1)
    places = places[near(labels != 0, math.floor(reach / 2)).reshape(-1)[places]]
    y, x = np.divmod(places, labels.shape[1])
    inside = (y + side) * width + x + side
    nearest = np.zeros(len(places), np.int32)  # its number; DONE
    first = np.full(len(places), np.inf)
    found, sums = [places[:0]], [first[:0]]
    for number, (distance, step) in enumerate(around(reach, width)):
        seen = padded[inside + step]
        hits = np.flatnonzero((seen != nearest) & (seen != 0))
        second = hits[nearest[hits] > 0]
        hits = hits[nearest[hits] == 0]
        nearest[hits], first[hits] = seen[hits], distance
        found.append(places[second])
        sums.append(first[second] + distance)
        nearest[second] = DONE
        if number % OFTEN == 0:
            left = (nearest > 0) & (first + distance <= reach)
            left |= (nearest == 0) & (2 * distance <= reach)
            places, inside, nearest, first = (
                values[left] for values in (places, inside, nearest, first)
            )
    total = np.concatenate(sums)
    few = total <= reach
    return np.concatenate(found)[few], total[few]
