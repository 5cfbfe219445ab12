"""Images that are equal, and images that look equal; both without comparing each with each."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

ROWS, COLUMNS, BITS = 8, 9, 64  # of a thumbnail, and of its hash
DISTANCE = 4  # bits in which the hashes of two images that look equal may differ
LIMITS = (0.03, 0.015, 0.0075)  # of 1 - correlation of their thumbnails, at most
STEEP = 3  # times the pairs within twice the distance: more come from images that are no copies
FEW = 5  # pairs that say nothing about how they are spread
FLAT = 2.0  # grey levels: a thumbnail that deviates less has nothing to compare
NEIGHBOURS = 64  # hashes of one bucket that are compared with each


class Near(NamedTuple):
    """Groups of images that look equal; `told` is false where all look too much alike to tell."""

    groups: list[np.ndarray]
    told: bool


def exact(keys: np.ndarray) -> list[np.ndarray]:
    """Groups of at least two equal keys (N,), as their indices, in order."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    groups = [group for group in np.split(order, starts) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def near(thumbs: np.ndarray, distance: int = DISTANCE) -> Near:
    """Groups of images that look equal, as indices of `thumbs`, uint8 (N, 8, 9), in order.

    Two look equal if their dHash differs in at most `distance` bits and the thumbnails correlate:
    one may be brighter, compressed again or of another size, but not cropped, turned or
    mirrored. What looks equal to a third is one group.
    """
    grey = thumbs.reshape(len(thumbs), ROWS * COLUMNS).astype(np.float32)
    grey -= grey.mean(1, keepdims=True)
    grey /= np.maximum(deviation := grey.std(1, keepdims=True), FLAT)
    rows = np.flatnonzero(deviation >= FLAT)
    pairs = rows[close(dhash(thumbs[rows]), distance)]
    apart = 1 - (grey[pairs[:, 0]] * grey[pairs[:, 1]]).mean(1)
    limit = told_apart(apart)
    return Near(exact(_components(len(thumbs), pairs[apart <= limit])), limit > 0)


def told_apart(apart: np.ndarray) -> float:
    """How far apart pairs that look equal may be: 1 - correlation of their thumbnails (P,).

    Copies lie close to each other, and hardly any pair lies a little further. Simple images, as
    handwritten digits, fill the space around each other: then twice the distance has many
    times the pairs, the limit is halved, and 0 if that does not help.
    """
    for limit in LIMITS:
        inside, half = (apart <= limit).sum(), (apart <= limit / 2).sum()
        if inside <= max(FEW * (limit == LIMITS[0]), STEEP * half):
            return limit
    return 0.0


def dhash(thumbs: np.ndarray) -> np.ndarray:
    """Whether a pixel is darker than its right neighbour, 64 bits: uint8 (N, 8, 9) -> uint64 (N,).

    Source: N. Krawetz, Kind of Like That, hackerfactor.com, 2013.
    """
    brighter = (thumbs[:, :, 1:] > thumbs[:, :, :-1]).reshape(len(thumbs), BITS)
    return np.packbits(brighter, axis=1).view(">u8").astype(np.uint64).reshape(len(thumbs))


def close(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Pairs of indices, int64 (P, 2), whose hashes differ in at most `distance` bits.

    The bits are cut into distance + 3 blocks. Of two such hashes at least 3 blocks are equal, so
    they meet in the bucket of one of the choices of 3 blocks. In a bucket of more than NEIGHBOURS
    hashes only those are compared that stand near each other when sorted.
    """
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    found = [np.empty((0, 2), np.int64)]
    for mask in _masks(distance + 3, 3):
        keys = ordered & mask
        by_key = np.argsort(keys, kind="stable")
        keys, candidates = keys[by_key], ordered[by_key]
        rows = np.arange(len(keys))
        for step in range(1, NEIGHBOURS):
            rows = rows[rows + step < len(keys)]
            rows = rows[keys[rows] == keys[rows + step]]
            if not len(rows):
                break
            good = rows[_bits(candidates[rows] ^ candidates[rows + step]) <= distance]
            found.append(order[np.stack([by_key[good], by_key[good + step]], axis=1)])
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _masks(blocks: int, kept: int) -> list[np.uint64]:
    """The bits of every choice of `kept` blocks."""
    edges = [BITS * block // blocks for block in range(blocks + 1)]
    parts = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in combinations(parts, kept)]


def _bits(words: np.ndarray) -> np.ndarray:
    """How many bits of each uint64 are set."""
    octets = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1)
    return np.unpackbits(octets, axis=1).sum(1)


def _components(count: int, pairs: np.ndarray) -> np.ndarray:
    """For each of `count` nodes the smallest one that pairs lead to."""
    labels = np.arange(count)
    while True:
        lower = labels[pairs].min(1)
        merged = labels.copy()
        for side in labels[pairs].T:
            np.minimum.at(merged, side, lower)
        merged = merged[merged]
        if np.array_equal(merged, labels):
            return labels
        labels = merged
