from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from answered import guessed, scored
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from cnnctl.scoring import figures, intervals, predictions
from cnnctl.scoring.scores import Scores

COUNTS = torch.tensor([[3, 1, 0], [1, 1, 0], [0, 0, 0]])


def found(scores: Scores, seed: int = 0):
    return figures.figures(predictions.of(scores), seed)


@pytest.mark.parametrize("classes", [3, 12])
def test_the_figures_are_those_of_torchmetrics(classes: int) -> None:
    scores = guessed(200, classes, skill=1)
    told, given = found(scores), (scores.logits, scores.labels, classes)
    many = classes > 5
    wanted = {
        "top1": multiclass_accuracy(*given, average="micro"),
        "macro_precision": multiclass_precision(*given, average="macro"),
        "macro_recall": multiclass_recall(*given, average="macro"),
        "macro_f1": multiclass_f1_score(*given, average="macro"),
        "ece": multiclass_calibration_error(*given, n_bins=15),
    }
    if many:
        wanted["top5"] = multiclass_accuracy(*given, average="micro", top_k=5)
    for name, value in wanted.items():
        assert told["metrics"][name] == pytest.approx(float(value), abs=1e-6), name
    assert told["metrics"]["loss"] == scores.loss
    assert told["metrics"]["top1_error"] == 1 - told["metrics"]["top1"]
    assert (told["metrics"]["top5"] is None) is (told["metrics"]["top5_error"] is None) is not many
    assert told["confusion"] == multiclass_confusion_matrix(*given).tolist()
    assert told["n"] == 200


def test_every_figure_has_an_interval_that_holds_it() -> None:
    told = found(guessed(150, 7))
    assert list(told["intervals"]) == list(told["metrics"])
    for name, (low, high) in told["intervals"].items():
        assert low <= told["metrics"][name] <= high, name
        assert low < high
    hits = round(150 * told["metrics"]["top1"])
    assert told["intervals"]["top1"] == intervals.wilson(hits, 150)
    low, high = told["intervals"]["top1"]
    assert told["intervals"]["top1_error"] == [1 - high, 1 - low]
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_the_macro_interval_is_that_of_resampled_images() -> None:
    """Image by image, with torchmetrics, as the formula in counts does it at once."""
    scores = guessed(120, 4, skill=1)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(200):
        picked = torch.from_numpy(generator.integers(120, size=120))
        value = multiclass_f1_score(scores.logits[picked], scores.labels[picked], 4)
        drawn.append(float(value))
    low, high = found(scores)["intervals"]["macro_f1"]
    assert high - low == pytest.approx(3.92 * np.std(drawn), rel=0.15)


def test_few_classes_have_no_top5_and_an_unknown_loss_stays_unknown() -> None:
    told = found(replace(guessed(30, 5), loss=None))
    for name in ("top5", "top5_error", "loss"):
        assert told["metrics"][name] is None
        assert told["intervals"][name] is None


def test_a_loss_of_the_nets_own_has_no_interval() -> None:
    scores = guessed(30, 5)
    assert found(replace(scores, loss=float("inf")))["metrics"]["loss"] is None
    told = found(replace(scores, loss=12.5))
    assert (told["metrics"]["loss"], told["intervals"]["loss"]) == (12.5, None)


def test_by_class_gives_recall_precision_and_f1_and_null_for_nothing() -> None:
    rows = figures.by_class(COUNTS, ("a", "b", "c"))
    assert [row.pop("recall_interval") for row in rows] == [
        intervals.wilson(3, 4), intervals.wilson(1, 2), None,
    ]  # fmt: skip
    assert rows == [
        {"class": "a", "n": 4, "recall": 0.75, "precision": 0.75, "f1": 0.75},
        {"class": "b", "n": 2, "recall": 0.5, "precision": 0.5, "f1": 0.5},
        {"class": "c", "n": 0, "recall": None, "precision": None, "f1": None},
    ]


def test_a_class_without_images_or_predictions_does_not_count_in_a_mean() -> None:
    counts = [side.double().numpy() for side in figures._sides(COUNTS)]
    assert figures.macro(*counts).tolist() == [0.625, 0.625, 0.625]
    predicted = torch.tensor([[3, 1], [0, 0]])  # the second class is predicted, but is on no image
    counts = [side.double().numpy() for side in figures._sides(predicted)]
    assert figures.macro(*counts).tolist() == pytest.approx([0.5, 0.375, 3 / 7])


def test_the_most_frequent_confusions_come_first() -> None:
    counts = torch.tensor([[9, 2, 0], [5, 9, 2], [1, 0, 9]])
    assert figures.confused(counts, ("a", "b", "c")) == [
        {"true": "b", "predicted": "a", "n": 5}, {"true": "a", "predicted": "b", "n": 2},
        {"true": "b", "predicted": "c", "n": 2}, {"true": "c", "predicted": "a", "n": 1},
    ]  # fmt: skip
    assert counts.diagonal().tolist() == [9, 9, 9]
    many = torch.ones(5, 5, dtype=torch.int64)
    assert len(figures.confused(many, tuple("abcde"))) == figures.CONFUSED
    assert figures.confused(torch.eye(3, dtype=torch.int64), ("a", "b", "c")) == []


def test_a_perfect_net_has_perfect_figures_and_says_what_else_is_possible() -> None:
    labels = torch.arange(8).repeat(5)
    told = found(scored(torch.eye(8)[labels] * 50, labels))
    for name in ("top1", "top5", "macro_precision", "macro_recall", "macro_f1"):
        assert told["metrics"][name] == 1
    assert told["intervals"]["top5"][1] == told["intervals"]["top1"][1] == 1
    assert {told["intervals"][name] for name in figures.MACRO} == {None}  # nothing to draw from
    assert told["intervals"]["top1"][0] == pytest.approx(0.912, abs=1e-3)
    assert told["confused"] == []


def test_one_image_is_enough() -> None:
    told = found(guessed(1, 6))
    assert told["n"] == 1
    assert json.dumps(told, allow_nan=False)
