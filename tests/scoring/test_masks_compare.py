from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from judged import counted, drawn

from cnnctl.scoring import masks_compare
from cnnctl.tasks.segment import overlaps


def miou(counts: np.ndarray) -> float:
    return overlaps(torch.from_numpy(counts.sum(0)).double())["miou"]


def better(counts: np.ndarray, share: float) -> np.ndarray:
    """With so many of the wrong pixels of each class right."""
    right = counts * np.eye(counts.shape[1], dtype=int)
    moved = ((counts - right) * share).astype(int)
    return counts - moved + moved.sum(2, keepdims=True) * np.eye(counts.shape[1], dtype=int)


def test_a_better_net_is_named() -> None:
    counts = drawn(0, images=30)
    first, second = counted(counts, edge=0.2), counted(better(counts, 0.5), edge=0.6)
    found = masks_compare.compare(first, second, 0)
    assert found["difference"] == pytest.approx(miou(better(counts, 0.5)) - miou(counts))
    assert 0 < found["interval"][0] < found["difference"] < found["interval"][1]
    assert (found["better"], found["images_needed"]) == (1, None)
    assert (found["first_better"], found["second_better"], found["alike"]) == (0, 30, 0)
    assert found["boundary_f1"]["difference"] == pytest.approx(0.4)
    assert found["test"] == "paired bootstrap"
    back = masks_compare.compare(second, first, 0)
    assert back["better"] == 0
    assert back["difference"] == pytest.approx(-found["difference"])


def test_the_same_images_are_drawn_for_both() -> None:
    """Nets that differ by little on images that differ by much."""
    random = np.random.default_rng(5)
    counts = drawn(1, images=40) * random.integers(1, 30, (40, 1, 1))
    counts[:20, 0, 1] *= 50  # half of the images are hard
    found = masks_compare.compare(counted(counts), counted(better(counts, 0.05)), 0)
    apart = found["interval"][1] - found["interval"][0]
    alone = [miou(counts[random.integers(40, size=40)]) for _ in range(300)]
    assert apart < 0.3 * float(np.ptp(alone))
    assert found["better"] == 1


def test_noise_names_nobody_and_says_what_it_takes() -> None:
    first, second = counted(drawn(2, images=20)), counted(drawn(3, images=20))
    found = masks_compare.compare(first, second, 0)
    assert found["interval"][0] < 0 < found["interval"][1]
    assert found["better"] is None
    error = (found["interval"][1] - found["interval"][0]) / (2 * 1.96)
    wanted = 20 * ((1.96 + 0.8416) * error / found["difference"]) ** 2
    assert found["images_needed"] == pytest.approx(max(wanted, 21), rel=0.01)


def test_the_same_net_is_no_better() -> None:
    one = counted(drawn(4))
    found = masks_compare.compare(one, one, 0)
    assert (found["difference"], found["interval"], found["better"]) == (0, None, None)
    assert (found["images_needed"], found["alike"]) == (None, 12)
    assert found["loss"] == {"difference": 0.0, "interval": None}


def test_figures_that_are_not_known_of_both_are_left_out() -> None:
    lost = counted(drawn(0), losses=np.full(12, math.inf), edge=math.nan)
    found = masks_compare.compare(counted(drawn(0)), lost, 0)
    assert found["loss"] is found["boundary_f1"] is None
    assert found["dice"] is not None


@pytest.mark.parametrize(
    ("gap", "interval", "wanted"), [(0.0, [-0.1, 0.1], None), (0.1, None, None)]
)
def test_no_difference_needs_no_images(gap, interval, wanted) -> None:
    assert masks_compare.needed(gap, interval, 10) is wanted


def test_more_images_are_needed_than_were_not_enough() -> None:
    assert masks_compare.needed(1.0, [-0.001, 0.001], 10) == 11


def test_what_an_ensemble_gains() -> None:
    counts = drawn(6, images=25)
    members = [counted(counts), counted(better(counts, 0.3)), counted(better(counts, 0.1))]
    whole = counted(better(counts, 0.6))
    found = masks_compare.gains(members, whole, 0)
    shares = [miou(one.counts) for one in members]
    assert (found["best"], found["best_miou"]) == (1, pytest.approx(max(shares)))
    assert found["mean_miou"] == pytest.approx(np.mean(shares))
    gain = found["gain_over_mean"]
    assert gain["difference"] == pytest.approx(miou(whole.counts) - np.mean(shares))
    assert 0 < gain["interval"][0] < gain["difference"] < gain["interval"][1]
    assert found["gain_over_best"] == masks_compare.compare(members[1], whole, 0)
