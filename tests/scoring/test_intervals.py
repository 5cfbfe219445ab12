from __future__ import annotations

import numpy as np
import pytest

from cnnctl.scoring import calibration, intervals
from cnnctl.scoring.intervals import bootstrap, mean, wilson


@pytest.mark.parametrize(
    ("hits", "images", "ends"),
    [
        # Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0000, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (29, 29, (0.8830, 1.0000)),
    ],
)
def test_wilson_gives_published_intervals(hits: int, images: int, ends) -> None:
    assert wilson(hits, images) == pytest.approx(ends, abs=6e-5)


def test_no_images_have_no_interval() -> None:
    assert wilson(0, 0) is None


@pytest.mark.parametrize("images", [1, 3, 100, 50_000])
def test_an_interval_of_a_share_holds_it_and_stays_within_0_and_1(images: int) -> None:
    for hits in {0, 1, images // 2, images - 1, images}:
        low, high = wilson(hits, images) or (2, -1)
        assert 0 <= low <= hits / images <= high <= 1
        assert low < high
        assert (low == 0) is (hits == 0)
        assert (high == 1) is (hits == images)


def test_wilson_holds_the_true_share_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.97):
        hits = generator.binomial(200, share, 2000).tolist()
        ends = np.array([wilson(one, 200) for one in hits])
        held = ((ends[:, 0] <= share) & (share <= ends[:, 1])).mean()
        assert 0.93 < held < 0.97


def test_a_mean_has_the_interval_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(3, 2, 2000)
    low, high = mean(values, 0)
    error = 1.96 * values.std() / 2000**0.5
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.012)


def test_one_seed_gives_one_interval() -> None:
    values = np.random.default_rng(2).exponential(size=50)
    assert mean(values, 7) == mean(values, 7) != mean(values, 8)


def test_the_mean_is_held_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    found = [mean(generator.exponential(size=150), seed) for seed in range(120)]
    held = sum(low <= 1 <= high for low, high in found) / len(found)
    assert 0.88 < held <= 1


def test_several_figures_are_made_of_the_same_images() -> None:
    values = np.arange(20.0)

    def both(weights: np.ndarray) -> np.ndarray:
        return np.array([weights @ values, -(weights @ values)]) / weights.sum()

    (low, high), (less, more) = bootstrap(both, 20, 0)
    assert (low, high) == pytest.approx((-more, -less))
    assert low < 9.5 < high


def test_weights_say_how_often_each_image_was_drawn() -> None:
    seen: list[np.ndarray] = []

    def keep(weights: np.ndarray) -> np.ndarray:
        seen.append(weights)
        return weights[:1]

    bootstrap(keep, 30, 0)
    first, *drawn = seen
    assert first.tolist() == [1.0] * 30
    assert len(drawn) == intervals.RESAMPLES
    assert {weights.sum() for weights in drawn} == {30}
    assert np.mean(drawn) == pytest.approx(1)
    assert np.var(drawn) == pytest.approx(1, abs=0.1)  # as of a Poisson distribution


def test_limits_and_bias() -> None:
    """A figure that is larger on every resample is moved back to where it is."""
    values = np.random.default_rng(4).normal(size=40)

    def gap(weights: np.ndarray) -> np.ndarray:
        return np.array([abs(weights @ values) / 40])

    plain = abs(values.mean())
    drawn = [gap(weights)[0] for weights in intervals._drawn(np.random.default_rng(0), 40)]
    bias = np.mean(drawn) - plain
    assert bias > 0.01
    (ends,) = bootstrap(gap, 40, 0)
    assert ends == pytest.approx(np.percentile(drawn, (2.5, 97.5)) - 2 * bias)
    (ends,) = bootstrap(gap, 40, 0, (0.0, plain))
    assert ends == [0.0, plain]


def test_a_figure_that_never_changes_has_no_interval() -> None:
    assert mean(np.full(30, 0.1), 0) is None
    assert mean(np.array([0.3]), 0) is None
    same, moves = bootstrap(lambda weights: np.array([weights.sum(), weights[0]]), 9, 0)
    assert same is None
    assert moves == pytest.approx([0, 3], abs=0.5)


def test_draws_without_a_number_are_left_out() -> None:
    """A mean over images of which half have a value, and one that no draw has."""
    values = np.where(np.arange(6) < 3, np.arange(6.0), np.nan)
    known = np.isfinite(values)

    def both(weights: np.ndarray) -> np.ndarray:
        total = weights @ known
        share = weights @ np.nan_to_num(values) / total if total else np.nan
        return np.array([share, np.nan])

    found, nothing = bootstrap(both, 6, 0)
    drawn = [both(one)[0] for one in intervals._drawn(np.random.default_rng(0), 6)]
    assert 0 < np.isnan(drawn).sum() < 50
    some = [one for one in drawn if not np.isnan(one)]
    assert found == pytest.approx(np.percentile(some, (2.5, 97.5)) - 2 * (np.mean(some) - 1))
    assert nothing is None


@pytest.mark.parametrize(("images", "least"), [(359, 0.7), (2000, 0.85)])
def test_the_calibration_error_is_held_about_as_often_as_it_says(images: int, least: float) -> None:
    """Of a net that is right 2 % more often than it says; moved once, it is held half the time."""
    held, rounds = 0, 40
    for seed in range(rounds):
        generator = np.random.default_rng(seed)
        said = generator.uniform(0.3, 0.9, images)
        gaps = said - (generator.random(images) < said + 0.02)
        bins = np.minimum((said * 15).astype(int), 14)

        def error(weights: np.ndarray, bins=bins, gaps=gaps) -> np.ndarray:
            return np.array([calibration.error(bins, gaps, weights)])

        ((low, high),) = bootstrap(error, images, seed, (0.0, 1.0))
        held += low <= 0.02 <= high
    assert held >= least * rounds
