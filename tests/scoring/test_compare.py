from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from answered import answers, guessed

from cnnctl.errors import DataError
from cnnctl.scoring.compare import compare, mcnemar, needed, paired, same_images

NAMES = ("one", "other")


def tail(ahead: int, behind: int) -> float:
    """By counting all outcomes."""
    total = ahead + behind
    fewer = sum(math.comb(total, k) for k in range(min(ahead, behind) + 1))
    return min(1.0, 2 * fewer / 2**total)


@pytest.mark.parametrize(
    ("ahead", "behind"), [(0, 0), (1, 0), (0, 5), (6, 0), (12, 5), (40, 61), (300, 200), (7, 7)]
)
def test_the_test_is_exact(ahead: int, behind: int) -> None:
    assert mcnemar(ahead, behind) == pytest.approx(tail(ahead, behind), rel=1e-10)
    assert mcnemar(ahead, behind) == mcnemar(behind, ahead)


def test_many_images_are_no_matter() -> None:
    assert mcnemar(20_000, 20_300) == pytest.approx(0.1361, abs=2e-3)  # of the normal distribution
    assert mcnemar(30_000, 10_000) == 0


@pytest.mark.parametrize(
    ("ahead", "behind", "images"), [(0, 0, 10), (5, 0, 5), (3, 9, 100), (50, 20, 1000)]
)
def test_the_interval_is_agrestis_and_mins(ahead: int, behind: int, images: int) -> None:
    low, high = paired(ahead, behind, images)
    b, c, n = ahead + 0.5, behind + 0.5, images + 2
    error = 1.959964 * math.sqrt((b + c) - (b - c) ** 2 / n) / n
    assert (low, high) == pytest.approx(
        (max(-1, (b - c) / n - error), min(1, (b - c) / n + error)), abs=1e-6
    )
    assert -1 <= low <= (ahead - behind) / images <= high <= 1
    assert paired(behind, ahead, images) == pytest.approx([-high, -low])


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    counts = generator.multinomial(300, [0.06, 0.03, 0.91], 3000)
    ends = np.array([paired(int(one), int(other), 300) for one, other, _ in counts])
    held = ((ends[:, 0] <= 0.03) & (ends[:, 1] >= 0.03)).mean()
    assert 0.93 < held < 0.98


def test_where_a_winner_is_named_the_interval_leaves_0_out() -> None:
    for total in range(6, 150):
        for ahead in range(total // 2 + 1, total + 1):
            if mcnemar(ahead, total - ahead) < 0.05:
                assert paired(ahead, total - ahead, 1000)[0] > 0


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [
        ([0] * 8, [1] * 8, 1),
        ([1] * 8, [0] * 8, 0),
        ([0] * 5, [1] * 5, None),
        ([1, 0], [0, 1], None),
    ],
)
def test_a_winner_is_named_only_beyond_noise(first, second, better) -> None:
    told = compare(answers(first), answers(second), 0)
    assert told["better"] == better
    assert (told["p"] < 0.05) is (better is not None)
    assert (told["images_needed"] is None) is (better is not None or first == [1, 0])


def test_the_counts_and_the_difference() -> None:
    told = compare(answers([1, 1, 1, 0, 0, 0, 1]), answers([1, 0, 1, 1, 1, 1, 0]), 0)
    assert (told["both_right"], told["both_wrong"]) == (2, 0)
    assert (told["only_first_right"], told["only_second_right"]) == (2, 3)
    assert told["difference"] == pytest.approx(1 / 7)
    assert told["interval"] == paired(3, 2, 7)
    assert (told["test"], told["p"]) == ("exact McNemar", mcnemar(3, 2))
    assert told["loss"]["difference"] < 0  # three times sure and wrong against two times
    low, high = told["loss"]["interval"]
    assert low < told["loss"]["difference"] < high


def test_a_net_beside_itself_is_no_better() -> None:
    told = compare(answers([1, 0]), answers([1, 0]), 0)
    assert (told["difference"], told["p"], told["better"]) == (0, 1, None)
    assert told["images_needed"] is None
    assert told["loss"] == {"difference": 0, "interval": None}


def test_losses_are_compared_where_both_are_known() -> None:
    one = answers([1, 0])
    assert compare(one, replace(one, losses=None), 0)["loss"] is None


def test_so_many_images_would_do() -> None:
    """As a simulation: with that many, four of five tests find the difference."""
    apart, gap = 0.10, 0.03
    images = needed(65, 35, 1000)
    assert images is not None
    drawn = np.random.default_rng(0).multinomial(
        images, [(apart + gap) / 2, (apart - gap) / 2, 1 - apart], 600
    )
    won = np.mean([mcnemar(int(one), int(other)) < 0.05 for one, other, _ in drawn])
    assert 0.72 < won < 0.86
    assert needed(5, 5, 100) is None


def test_images_are_told_apart_by_name_label_class_and_number() -> None:
    scores = guessed(4, 3)
    same_images(scores, scores, NAMES)
    names = ("0.png", "1.png", "x.png", "3.png")
    labels = scores.labels.clone()
    labels[1] = (labels[1] + 1) % 3
    shorter = replace(scores, names=names[:2], labels=scores.labels[:2])
    label, its = scores.labels[1], labels[1]
    for other, text in (
        (replace(scores, names=names), "image 3 of one is 2.png, of other x.png"),
        (replace(scores, labels=labels), f"1.png is class {label} for one, class {its} for other"),
        (replace(scores, classes=("a", "b", "c")), "one and other know other classes: class 0 and"),
        (replace(scores, classes=(*scores.classes, "d")), "other classes: 3 of them and 4"),
        (shorter, "one has 4, other 2"),
    ):  # fmt: skip
        with pytest.raises(DataError) as caught:
            same_images(scores, other, NAMES)
        assert text in caught.value.message


def test_a_file_may_be_given_by_another_path() -> None:
    scores = guessed(2, 3)
    Path("link").symlink_to(Path.cwd())
    for folder in (str(Path.cwd()), "link", "."):
        names = tuple(os.path.join(folder, name) for name in scores.names)  # noqa: PTH118 - as given
        same_images(scores, replace(scores, names=names), NAMES)
