from __future__ import annotations

import math

import numpy as np
import pytest

from cnnctl.config.masks import IGNORE
from cnnctl.scoring import boundary

SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def outline(labels: np.ndarray, number: int) -> list[tuple[int, int]]:
    found = []
    for y, x in zip(*np.nonzero(labels == number), strict=True):
        beside = [
            labels[y + down, x + right]
            for down, right in SIDES
            if 0 <= y + down < labels.shape[0] and 0 <= x + right < labels.shape[1]
        ]
        if any(one not in (number, IGNORE) for one in beside):
            found.append((int(y), int(x)))
    return found


def share(points: list, others: list, tolerance: float) -> float:
    near = [any(math.dist(a, b) <= tolerance for b in others) for a in points]
    return sum(near) / len(near) if near else 0.0


def brute(predicted: np.ndarray, mask: np.ndarray, classes: int, part: float) -> list[float]:
    """Pixel by pixel, of a mask without ignored ones."""
    tolerance, scores = part * math.hypot(*mask.shape), []
    for number in range(classes):
        found, wanted = outline(predicted, number), outline(mask, number)
        precision = share(found, wanted, tolerance)
        recall = share(wanted, found, tolerance)
        total = precision + recall
        score = 2 * precision * recall / total if total else 0.0
        scores.append(score if found or wanted else math.nan)
    return scores


def blobs(seed: int, size: tuple[int, int], classes: int) -> np.ndarray:
    """Rectangles on a background of class 0."""
    random = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    for _ in range(4):
        top, left = (int(random.integers(0, length - 3)) for length in size)
        tall, wide = random.integers(2, 9, 2).tolist()
        mask[top : top + tall, left : left + wide] = random.integers(0, classes)
    return mask


@pytest.mark.parametrize("part", [0.001, 0.03, 0.055, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_that_of_all_pairs_of_pixels(seed: int, part: float) -> None:
    mask, predicted = blobs(seed, (21, 26), 4), blobs(seed + 50, (21, 26), 4)
    found = boundary.f1(predicted, mask, 5, part)
    np.testing.assert_allclose(found, brute(predicted, mask, 5, part))
    assert math.isnan(found[4])


def test_the_same_outline_is_met_and_a_shifted_one_within_the_tolerance() -> None:
    mask = np.zeros((30, 40), np.uint8)  # a diagonal of 50
    mask[10:20, 10:20] = 1
    moved = np.roll(mask, 2, 1)
    assert boundary.f1(mask, mask, 2, 0.0075).tolist() == [1, 1]
    assert boundary.f1(moved, mask, 2, 2 / 50).tolist() == [1, 1]
    assert (boundary.f1(moved, mask, 2, 1.99 / 50) < 1).all()


def test_an_outline_on_one_side_alone_is_0_and_none_at_all_is_nothing() -> None:
    plain, mask = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 2
    assert boundary.f1(plain, mask, 3, 0.1).tolist() == pytest.approx([0, math.nan, 0], nan_ok=True)
    assert np.isnan(boundary.f1(plain, plain, 3, 0.1)).all()
    assert np.isnan(boundary.f1(plain, np.full_like(plain, 1), 3, 0.1)).all()


def test_classes_do_not_meet_each_other() -> None:
    """The outline of class 1 where the mask has that of class 2."""
    mask = np.zeros((9, 9), np.uint8)
    mask[3:6, 3:6] = 2
    found = boundary.f1(np.where(mask == 2, 1, 0).astype(np.uint8), mask, 3, 0.1)
    assert found.tolist() == [1, 0, 0]


def test_the_first_and_the_last_line_do_not_meet() -> None:
    """Nor do those of the next class, however far the search goes."""
    mask, predicted = np.zeros((2, 30), np.uint8), np.zeros((2, 30), np.uint8)
    mask[:, 0], predicted[:, -1] = 1, 1
    tall, high = np.zeros((30, 2), np.uint8), np.zeros((30, 2), np.uint8)
    tall[0], high[-1] = 1, 1
    for one, other in ((predicted, mask), (high, tall)):
        assert boundary.f1(one, other, 2, 0.5).tolist() == [0, 0]


def test_an_ignored_rim_takes_the_classes_at_its_sides() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 18:22], mask[:, 22:] = IGNORE, 1
    whole = np.zeros((40, 40), np.uint8)
    whole[:, 20:] = 1
    assert (boundary.completed(mask, 2) == whole).all()
    assert boundary.f1(whole, mask, 2, 2 / 56).tolist() == [1, 1]
    assert boundary.f1(np.roll(whole, 6, 1), mask, 2, 2 / 56)[1] < 0.5


def test_what_is_ignored_further_away_bounds_nothing() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = IGNORE
    predicted = mask.copy()
    predicted[14:26, 14:26] = 1  # anything
    predicted[predicted == IGNORE] = 0
    assert np.isnan(boundary.f1(predicted, mask, 2, 2 / 56)).all()
    nothing = np.full((5, 5), IGNORE, np.uint8)
    assert np.isnan(boundary.f1(np.zeros((5, 5), np.uint8), nothing, 2, 0.1)).all()


@pytest.mark.parametrize("reach", [0.7, 1, 2.3, 4, 40])
def test_an_ignored_pixel_takes_the_class_of_the_nearest(reach: float) -> None:
    random = np.random.default_rng(3)
    mask = random.integers(0, 3, (15, 12)).astype(np.uint8)
    mask[random.random(mask.shape) < 0.9] = IGNORE
    found = boundary.completed(mask, reach)
    known = list(zip(*np.nonzero(mask != IGNORE), strict=True))
    for place in np.ndindex(mask.shape):
        apart = [math.dist(place, other) for other in known]
        nearest = {mask[b] for a, b in zip(apart, known, strict=True) if a == min(apart)}
        assert found[place] in (nearest if min(apart) <= reach else {IGNORE})
