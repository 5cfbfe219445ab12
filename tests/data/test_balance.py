from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from cnnctl.data import balance
from cnnctl.data.order import Order
from cnnctl.nets.blocks import Layers
from cnnctl.nets.net import Net

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_every_class_weighs_the_same() -> None:
    weights = balance.weights(LABELS, 3)
    assert (weights * np.bincount(LABELS)).tolist() == pytest.approx([100 / 3] * 3)


def test_classes_of_one_size_weigh_one() -> None:
    assert balance.weights(np.arange(12) % 4, 4).tolist() == [1, 1, 1, 1]


def test_a_class_that_was_not_counted_weighs_as_the_rarest() -> None:
    assert balance.of_counts(np.array([60, 0, 30, 10])).tolist() == pytest.approx(
        [100 / 240, 100 / 40, 100 / 120, 100 / 40]
    )
    assert balance.of_counts(np.zeros(3, np.int64)).tolist() == [0, 0, 0]


def test_drawing_by_weight_evens_the_classes_out() -> None:
    weights = balance.weights(LABELS, 3)[LABELS]
    drawn = np.concatenate(
        [LABELS[Order(100, 0, weights=weights).of(epoch) % 100] for epoch in range(90)]
    )
    shares = np.bincount(drawn) / len(drawn)
    assert len(drawn) == 9000
    assert shares == pytest.approx([1 / 3] * 3, abs=0.02)


def test_a_weighted_loss_is_that_of_torch_in_training_only() -> None:
    net = Net(Layers(same=torch.nn.Identity()), "torch")
    net.class_weights = torch.tensor([1.0, 2.0, 5.0])
    logits, labels = torch.randn(8, 3), torch.arange(8) % 3
    weighted = cross_entropy(logits, labels, weight=net.class_weights)
    assert torch.equal(net.train().loss(logits, labels), weighted)
    assert torch.equal(net.eval().loss(logits, labels), cross_entropy(logits, labels))
    assert "class_weights" not in net.state_dict()


def test_every_way_of_counting_trains_another_net(cnnctl, photos) -> None:
    root = photos({"train": {"cat": 30, "dog": 6}})
    words = ("data=folder", f"data.root={root}", "data.val_fraction=0.34", "trainer.max_steps=2")
    more = ("train", *words, "data.size=32", "model=mlp", "hardware=cpu", "progress=none", "--json")
    runs = [cnnctl(*more, f"data.balance={way}").document for way in ("none", "sample", "loss")]
    assert len({run["result"]["weights_sha256"] for run in runs}) == 3


def test_the_perceptron_has_a_loss_of_its_own(cnnctl) -> None:
    done = cnnctl("train", "recipe=perceptron_digits", "data.balance=loss")
    assert done.code == 2
    assert "data.balance=loss has no effect on perceptron, which has a loss of its own" in done.err
