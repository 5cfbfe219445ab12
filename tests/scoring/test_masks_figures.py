"""Figures against torchmetrics, over all pixels and over those of single images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from judged import counted, drawn
from torch import Tensor
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from cnnctl.scoring import masks_figures
from cnnctl.scoring.intervals import RESAMPLES
from cnnctl.tasks.segment import overlaps

K = 4


def pixels(counts: np.ndarray) -> tuple[Tensor, Tensor]:
    """Predictions and masks, pixel by pixel, that give this confusion matrix."""
    true, said = (torch.from_numpy(one) for one in np.indices(counts.shape).reshape(2, -1))
    times = torch.from_numpy(counts.reshape(-1))
    return said.repeat_interleave(times), true.repeat_interleave(times)


def reference(kind: Any, counts: np.ndarray, average: str) -> Any:
    metric = kind(num_classes=len(counts), average=average)
    return metric(*pixels(counts)).double().numpy()


def told(counts: np.ndarray, **more: Any) -> dict[str, Any]:
    return masks_figures.figures(counted(counts, **more), seed=0)


@pytest.mark.parametrize("seed", range(3))
def test_overlaps_are_those_of_torchmetrics(seed: int) -> None:
    counts = drawn(seed, classes=K)
    total, found = counts.sum(0), told(counts)["metrics"]
    wanted = {
        "miou": reference(MulticlassJaccardIndex, total, "macro"),
        "dice": reference(MulticlassF1Score, total, "macro"),
        "pixel_accuracy": reference(MulticlassAccuracy, total, "micro"),
        "mean_accuracy": reference(MulticlassAccuracy, total, "macro"),
        "frequency_weighted_iou": reference(MulticlassJaccardIndex, total, "weighted"),
    }
    for name, value in wanted.items():
        assert found[name] == pytest.approx(float(value), rel=1e-5), name


@pytest.mark.parametrize("seed", range(3))
def test_each_class_has_the_figures_of_torchmetrics(seed: int) -> None:
    counts = drawn(seed, classes=K)
    total, rows = counts.sum(0), told(counts)["per_class"]
    kinds = {
        "iou": MulticlassJaccardIndex, "dice": MulticlassF1Score,
        "precision": MulticlassPrecision, "recall": MulticlassRecall,
    }  # fmt: skip
    for name, kind in kinds.items():
        wanted = reference(kind, total, "none")
        assert [row[name] for row in rows] == pytest.approx(wanted.tolist(), rel=1e-5), name
    assert [row["pixels"] for row in rows] == total.sum(1).tolist()
    assert [row["class"] for row in rows] == [f"class {number}" for number in range(K)]


def test_training_has_the_same_figures() -> None:
    counts = drawn(1)
    found = told(counts)["metrics"]
    wanted = overlaps(torch.from_numpy(counts.sum(0)).double())
    assert {name: found[name] for name in wanted} == wanted


def test_a_class_that_nobody_has_counts_nowhere() -> None:
    counts = drawn(2, classes=K)
    counts[:, 2], counts[:, :, 2] = 0, 0
    found = told(counts)
    row = found["per_class"][2]
    assert {name for name, value in row.items() if value is None} == {
        "iou", "iou_interval", "dice", "precision", "recall",
    }  # fmt: skip
    rest = np.delete(np.delete(counts, 2, 1), 2, 2)
    assert found["metrics"] == pytest.approx(told(rest)["metrics"])
    assert found["intervals"]["miou"] == pytest.approx(told(rest)["intervals"]["miou"])


def test_a_class_that_is_only_predicted_counts_as_missed() -> None:
    counts = np.array([[[8, 2], [0, 0]]])
    found = told(counts)
    assert found["metrics"]["miou"] == pytest.approx((0.8 + 0) / 2)
    assert found["metrics"]["mean_accuracy"] == pytest.approx(0.8)
    assert found["metrics"]["frequency_weighted_iou"] == pytest.approx(0.8)
    assert found["per_class"][1] | {"boundary_f1": None} == {
        "class": "class 1", "pixels": 0, "iou": 0.0, "iou_interval": None, "dice": 0.0,
        "precision": 0.0, "recall": None, "boundary_f1": None,
    }  # fmt: skip


def test_loss_is_the_mean_of_all_pixels_not_of_images() -> None:
    counts = np.array([[[9, 0], [0, 0]], [[0, 0], [0, 1]]])
    found = told(counts, losses=np.array([9.0, 3.0]))
    assert found["metrics"]["loss"] == pytest.approx(12 / 10)
    assert found["intervals"]["loss"][0] < 1.2 < found["intervals"]["loss"][1]
    assert told(counts, losses=np.array([math.inf, 3.0]))["metrics"]["loss"] is None


def test_boundary_f1_is_a_mean_over_images_and_of_a_class_over_those_that_have_it() -> None:
    nothing = math.nan
    edge = np.array([[1.0, 0.5, nothing], [nothing, nothing, nothing], [0.0, nothing, nothing]])
    found = told(drawn(0, images=3), edge=edge)
    assert found["metrics"]["boundary_f1"] == pytest.approx((0.75 + 0.0) / 2)
    assert [row["boundary_f1"] for row in found["per_class"]] == [0.5, 0.5, None]
    none = told(drawn(0, images=3), edge=nothing)
    assert none["metrics"]["boundary_f1"] is none["intervals"]["boundary_f1"] is None


def test_intervals_are_of_images_drawn_again() -> None:
    """By drawing in another way: whole lists of images, one after the other."""
    counts, edge = drawn(3, images=40), np.random.default_rng(9).random((40, 3))
    found = told(counts, edge=edge, losses=counts.sum((1, 2)) * edge.mean(1))
    random, samples = np.random.default_rng(1), []
    for _ in range(RESAMPLES):
        picked = random.integers(40, size=40)
        sums = overlaps(torch.from_numpy(counts[picked].sum(0)).double())
        pixels_of = counts[picked].sum((1, 2))
        loss = (pixels_of * edge[picked].mean(1)).sum() / pixels_of.sum()
        samples.append([*sums.values(), edge[picked].mean(), loss])
    low, high = np.percentile(samples, [2.5, 97.5], axis=0)
    names = ("miou", "dice", "pixel_accuracy", "boundary_f1", "loss")
    for name, *ends in zip(names, low, high, strict=True):
        width = ends[1] - ends[0]
        assert found["intervals"][name] == pytest.approx(ends, abs=0.25 * width), name
        assert found["intervals"][name][0] < found["metrics"][name] < found["intervals"][name][1]
    for row in found["per_class"]:
        assert row["iou_interval"][0] < row["iou"] < row["iou_interval"][1]


def test_images_that_lack_something_do_not_speak_of_it() -> None:
    """What is in one image or two alone is missing in many drawings: there it is not 0."""
    counts = np.zeros((10, 3, 3), int)
    counts[:, 0, 0], counts[:, 1, 1] = 90, 30
    counts[:, 1, 0] = np.arange(10)
    counts[3, 2, 2] = 50
    edge = np.full((10, 3), math.nan)
    edge[4:6, 1] = 0.8
    found = told(counts, edge=edge)
    assert (found["per_class"][2]["iou"], found["per_class"][2]["iou_interval"]) == (1.0, None)
    assert found["metrics"]["boundary_f1"] == pytest.approx(0.8)
    assert found["intervals"]["boundary_f1"] is None
    counts[1:] = 0
    counts[1, 1, 0] = 1
    found = told(counts, losses=counts.sum((1, 2)) * 2.0)
    assert found["intervals"]["loss"] is None  # every pixel has lost 2
    low, high = found["intervals"]["pixel_accuracy"]
    assert low <= found["metrics"]["pixel_accuracy"] <= high


def test_one_image_has_figures_and_no_intervals() -> None:
    found = told(drawn(0, images=1))
    assert found["n"] == 1
    assert set(found["intervals"].values()) == {None}
    assert found["metrics"]["miou"] > 0


def test_no_pixel_at_all_is_no_division_by_zero() -> None:
    found = told(np.zeros((2, 3, 3), int), edge=math.nan)
    assert found["metrics"]["miou"] == found["metrics"]["mean_accuracy"] == 0
    assert found["metrics"]["boundary_f1"] is None
    assert found["metrics"]["loss"] == 0
    assert set(found["intervals"].values()) == {None}


def test_of_single_images() -> None:
    counts = drawn(4, images=5)
    counts[2] = 0
    edge = np.array([[1.0, 0.0, 0.5]] * 4 + [[math.nan] * 3])
    losses = np.array([1.0, 2, 0, 4, 5])
    found = masks_figures.by_image(counted(counts, edge=edge, losses=losses))
    assert found["pixels"].tolist() == counts.sum((1, 2)).tolist()
    for number, matrix in enumerate(counts):
        one = {name: values[number] for name, values in found.items()}
        if number == 2:
            assert all(math.isnan(one[name]) for name in ("miou", "dice", "pixel_accuracy", "loss"))
            continue
        wanted = overlaps(torch.from_numpy(matrix).double())
        assert {name: one[name] for name in wanted} == pytest.approx(wanted)
        assert one["loss"] == pytest.approx(losses[number] / matrix.sum())
    assert found["boundary_f1"][:4].tolist() == [0.5] * 4
    assert math.isnan(found["boundary_f1"][4])


def test_the_confusions_are_those_of_the_matrix() -> None:
    counts = np.array([[[5, 1, 7], [0, 9, 0], [2, 3, 4]]])
    found = told(counts)
    assert found["confusion"] == counts[0].tolist()
    assert [(one["true"], one["predicted"], one["n"]) for one in found["confused"]] == [
        ("class 0", "class 2", 7), ("class 2", "class 1", 3), ("class 2", "class 0", 2),
        ("class 0", "class 1", 1),
    ]  # fmt: skip
