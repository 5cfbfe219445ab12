from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from answered import guessed, scored
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_calibration_error

from cnnctl.scoring import calibration, predictions
from cnnctl.scoring.calibration import curve, ece, temperature
from cnnctl.scoring.predictions import Predictions

HALVES = torch.tensor([[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("skill", [0.0, 2.0, 200.0])
def test_the_error_is_that_of_torchmetrics(classes: int, skill: float) -> None:
    scores = guessed(300, classes, skill=skill)
    found = predictions.of(scores)
    wanted = multiclass_calibration_error(scores.probabilities, scores.labels, classes, n_bins=15)
    assert ece(scores.probabilities, scores.labels) == float(wanted)
    assert in_doubles(found) == pytest.approx(float(wanted), abs=2e-6)


def in_doubles(found: Predictions) -> float:
    gaps = found.probability.double().numpy() - found.right.numpy()
    return calibration.error(calibration.placed(found.probability), gaps, np.ones(len(gaps)))


def test_the_curve_adds_up_to_the_error() -> None:
    found = predictions.of(guessed(500, 4))
    bins = curve(found.probability, found.right)
    assert sum(one["n"] for one in bins) == 500
    gaps = sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / 500
    assert gaps == pytest.approx(in_doubles(found))
    for one in bins:
        assert one["low"] <= one["confidence"] <= one["high"]
        assert one["high"] - one["low"] == pytest.approx(1 / 15)


def test_a_bin_that_is_empty_is_left_out_and_exactly_1_has_its_own() -> None:
    bins = curve(torch.tensor([0.42, 0.99, 1.0, 1.0]), torch.tensor([True, True, True, False]))
    assert [(round(one["low"], 3), one["n"], one["accuracy"]) for one in bins] == [
        (0.4, 1, 1.0), (0.933, 1, 1.0), (1.0, 2, 0.5),
    ]  # fmt: skip
    assert bins[-1]["high"] == 1


def test_a_net_that_is_right_as_often_as_it_says_has_no_error() -> None:
    assert ece(HALVES, torch.tensor([0, 1])) == 0
    assert ece(HALVES, torch.tensor([0, 0])) == 0.5
    found = predictions.of(guessed(2, 2))
    weights = np.array([3.0, 0.0])
    gaps = found.probability.double().numpy() - found.right.numpy()
    bins = calibration.placed(found.probability)
    assert calibration.error(bins, gaps, weights) == pytest.approx(abs(gaps[0]))


@pytest.mark.parametrize("wanted", [0.25, 1.0, 7.0])
def test_the_temperature_that_logits_were_multiplied_by_is_found(wanted: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=generator) * 2
    labels = logits.softmax(1).multinomial(1, generator=generator)[:, 0]
    found, reason = temperature(logits * wanted, labels)
    assert reason is None
    assert found == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_temperature_has_a_lower_loss(seed: int) -> None:
    scores = guessed(200, 6, seed)
    found, _ = temperature(scores.logits, scores.labels)
    assert found is not None
    least = cross_entropy(scores.logits.double() / found, scores.labels)
    for other in (0.5, 0.99, 1.01, 2):
        assert cross_entropy(scores.logits.double() / (found * other), scores.labels) > least


def test_a_constant_added_to_the_logits_of_an_image_changes_nothing() -> None:
    scores = guessed(100, 3)
    moved = scores.logits + 1000 * torch.arange(100.0)[:, None]
    first, second = (temperature(one, scores.labels)[0] for one in (scores.logits, moved))
    assert first == pytest.approx(second, rel=1e-2)  # float32 of 100,000 has two digits left


@pytest.mark.parametrize(
    ("logits", "text"),
    [([[1.0, 0.0], [0.0, 1.0]], "no image of val is wrong"), ([[0.0, 1.0], [1.0, 0.0]], "guess")],
)
def test_no_temperature_is_the_best_for_a_net_that_is_always_right_or_wrong(logits, text) -> None:
    found, reason = temperature(torch.tensor(logits), torch.tensor([0, 1]))
    assert found is None
    assert text in (reason or "")


def test_before_and_after() -> None:
    scores = guessed(400, 4, skill=3)
    loud = scored(scores.logits * 9, scores.labels)
    found = predictions.of(loud)
    told = calibration.calibration(found, loud, None)
    quiet, _ = temperature(scores.logits, scores.labels)
    assert told["temperature"] == pytest.approx(9 * (quiet or 0))
    assert told["ece"] == ece(loud.probabilities, loud.labels)
    assert told["loss"] == pytest.approx(loud.loss)
    after = told["after"]
    assert after["loss"] < told["loss"]
    assert after["ece"] < told["ece"]
    assert sum(one["n"] for one in after["bins"]) == 400
    shares = (loud.logits / told["temperature"]).softmax(1)
    wanted = multiclass_calibration_error(shares, loud.labels, 4, n_bins=15)
    assert after["ece"] == pytest.approx(float(wanted), abs=1e-6)
    assert told["fitted_on"] == {"split": "val", "n": 400}
    assert told["reason"] is None


def test_without_images_to_fit_on_the_reason_is_told() -> None:
    told = calibration.calibration(predictions.of(guessed(10, 3)), None, "there is no val")
    assert (told["temperature"], told["after"], told["fitted_on"]) == (None, None, None)
    assert told["reason"] == "there is no val"
    assert math.isfinite(told["ece"])
