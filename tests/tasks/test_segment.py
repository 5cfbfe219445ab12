"""Figures of masks, against torchmetrics and by hand, however the pixels come."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segmented import by_hand, masks, net
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from cnnctl.config.masks import IGNORE
from cnnctl.tasks.segment import Overlap, Segment, confusion, overlaps

CPU = torch.device("cpu")


@settings(max_examples=25, deadline=None)
@given(
    classes=st.integers(2, 7), side=st.integers(1, 9), seed=st.integers(0, 999),
    ignored=st.sampled_from([0.0, 0.3, 0.9]),
)  # fmt: skip
def test_the_figures_are_those_of_the_definitions_and_of_torchmetrics(
    classes, side, seed, ignored
) -> None:
    wanted = masks((2, side, side + 1), classes, seed, ignored)
    predicted = masks((2, side, side + 1), classes, seed + 1).long()
    if (wanted == IGNORE).all():
        wanted[0, 0, 0] = 0
    found = overlaps(confusion(predicted, wanted, classes).double())
    assert found == pytest.approx(by_hand(predicted, wanted, classes), rel=1e-12)
    how: Any = {"num_classes": classes, "ignore_index": IGNORE}
    theirs = {
        "miou": multiclass_jaccard_index(predicted, wanted.long(), **how),
        "pixel_accuracy": multiclass_accuracy(predicted, wanted.long(), average="micro", **how),
    }
    assert {name: found[name] for name in theirs} == pytest.approx(
        {name: float(value) for name, value in theirs.items()}, rel=1e-5
    )
    each = multiclass_f1_score(predicted, wanted.long(), average="none", **how)
    kept = wanted != IGNORE
    there = [
        (wanted[kept] == one).any() or (predicted[kept] == one).any() for one in range(classes)
    ]
    assert found["dice"] == pytest.approx(float(each[torch.tensor(there)].mean()), rel=1e-5)


def test_a_confusion_matrix_has_the_mask_by_row_and_the_net_by_column() -> None:
    wanted = torch.tensor([[0, 0, 1], [2, IGNORE, 2]], dtype=torch.uint8)
    predicted = torch.tensor([[0, 1, 1], [0, 2, 2]])
    counts = confusion(predicted, wanted, 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert counts.dtype == torch.int64


def test_a_class_that_does_not_occur_counts_nowhere_and_one_that_is_made_up_is_wrong() -> None:
    absent = torch.tensor([[3.0, 1, 0], [0, 4, 0], [0, 0, 0]])
    found = overlaps(absent)
    assert found["miou"] == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert found["dice"] == pytest.approx((6 / 7 + 8 / 9) / 2)
    made_up = torch.tensor([[3.0, 0, 1], [0, 4, 0], [0, 0, 0]])
    assert overlaps(made_up)["miou"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    missed = torch.tensor([[3.0, 0, 0], [0, 4, 0], [1, 0, 0]])
    assert overlaps(missed)["miou"] == pytest.approx((3 / 4 + 1 + 0) / 3)


def test_a_mask_with_the_most_classes_is_counted_exactly() -> None:
    """Class numbers are bytes, and so are their products unless they are widened."""
    wanted = torch.arange(255, dtype=torch.uint8).view(1, 15, 17)
    counts = confusion(wanted.long().flip(2), wanted, 255)
    assert counts.sum() == 255
    assert torch.equal(counts.nonzero()[:, 1], wanted.flip(2).flatten().long())


def test_pixels_that_are_ignored_count_nowhere_and_without_any_other_all_is_zero() -> None:
    nothing = torch.full((2, 3, 3), IGNORE, dtype=torch.uint8)
    counts = confusion(torch.ones(2, 3, 3, dtype=torch.int64), nothing, 3)
    assert counts.sum() == 0
    assert overlaps(counts.double()) == {"miou": 0.0, "dice": 0.0, "pixel_accuracy": 0.0}
    task = Segment(net(), 3)
    found = task.means(Overlap(3, CPU).sums)
    assert found == {"loss": 0.0, "miou": 0.0, "dice": 0.0, "pixel_accuracy": 0.0}


def test_the_loss_of_pixels_that_are_all_ignored_is_nothing_and_teaches_nothing() -> None:
    made = net().train()
    labels = torch.full((2, 1, 4, 4), IGNORE, dtype=torch.uint8)
    loss = made.loss(made(torch.randn(2, 1, 4, 4)), labels)
    loss.backward()
    assert loss == 0
    assert not any(value.grad.any() for value in made.parameters() if value.grad is not None)
    for weights, smooth in (((0.0, 1.0, 1.0), 0.0), ((0.0, 1.0, 2.0), 0.1)):
        made.class_weights, made.label_smoothing = torch.tensor(weights), smooth
        loss = made.loss(made(torch.randn(2, 1, 4, 4)), torch.zeros_like(labels))
        loss.backward()
        assert loss == 0
        assert all(
            value.grad.isfinite().all() for value in made.parameters() if value.grad is not None
        )


@pytest.mark.parametrize("smooth", [0.0, 0.2])
def test_classes_weigh_in_training_alone(smooth) -> None:
    made, images = net(), torch.randn(2, 1, 5, 4)
    labels = masks((2, 1, 5, 4), 3, 3, 0.2)
    made.class_weights, made.label_smoothing = torch.tensor([0.0, 2.0, 0.5]), smooth
    logits, wanted = made(images), labels[:, 0].long()
    plain = cross_entropy(logits, wanted, ignore_index=IGNORE)
    torch.testing.assert_close(made.loss(logits, labels), plain)
    weighted = cross_entropy(
        logits, wanted, made.class_weights, ignore_index=IGNORE, label_smoothing=smooth
    )
    torch.testing.assert_close(made.train().loss(logits, labels), weighted)
    assert not torch.isclose(plain, weighted)


@pytest.mark.parametrize("weights", [None, (0.2, 3.0, 1.0), (0.0, 1.0, 0.0)])
def test_pieces_of_a_batch_count_by_what_their_pixels_do(weights) -> None:
    """The gradient of a batch in pieces is that of the batch, with pixels that are ignored."""
    made = net().train().double()
    made.class_weights = None if weights is None else torch.tensor(weights).double()
    images, labels = torch.randn(5, 1, 4, 4).double(), masks((5, 1, 4, 4), 3, 5, 0.4)
    labels[0] = IGNORE
    whole = made.loss(made(images), labels)
    parts = torch.zeros((), dtype=torch.float64)
    for some, wanted in zip(images.split([1, 3, 1]), labels.split([1, 3, 1]), strict=True):
        share = made.weight(wanted) / made.weight(labels)
        parts = parts + made.loss(made(some), wanted) * share
    torch.testing.assert_close(parts, whole, rtol=1e-7, atol=0)  # shares are float32
    assert torch.as_tensor(made.weight(labels[:1]) / made.weight(labels[:1])).isfinite()
