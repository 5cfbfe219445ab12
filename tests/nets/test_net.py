from __future__ import annotations

import math
from collections import OrderedDict

import pytest
import torch
import zoo
from torch import Tensor, nn
from torch.nn.functional import one_hot

from cnnctl.nets.net import Net

CLASSES = 4


@pytest.fixture
def net() -> Net:
    return Net(OrderedDict(fc=nn.Linear(3, CLASSES)), "torch")


def example() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, CLASSES, generator=generator, dtype=torch.float64)
    return logits, torch.tensor([0, 3, 1, 1, 2, 0])


def smoothed(logits: Tensor, shares: Tensor, part: float) -> Tensor:
    """Equation of section 7: q' = (1 - e) q + e / K, and the cross-entropy of it."""
    wanted = (1 - part) * shares + part / CLASSES
    return -(wanted * logits.log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5])
def test_training_smooths_labels(net, part) -> None:
    logits, labels = example()
    net.label_smoothing = part
    wanted = smoothed(logits, one_hot(labels, CLASSES).double(), part)
    torch.testing.assert_close(net.loss(logits, labels), wanted)


@pytest.mark.parametrize("part", [0.0, 0.1])
def test_training_smooths_shares_of_mixed_images(net, part) -> None:
    logits, labels = example()
    net.label_smoothing = part
    shares = 0.3 * one_hot(labels, CLASSES) + 0.7 * one_hot(labels.flip(0), CLASSES)
    found = net.loss(logits, shares.double())
    torch.testing.assert_close(found, smoothed(logits, shares.double(), part))


def test_measuring_smooths_nothing(net) -> None:
    logits, labels = example()
    net.label_smoothing = 0.5
    wanted = smoothed(logits, one_hot(labels, CLASSES).double(), 0)
    torch.testing.assert_close(net.eval().loss(logits, labels), wanted)
    assert net.train().loss(logits, labels) != wanted


def test_no_smoothing_is_the_loss_without_it_to_the_bit(net) -> None:
    logits, labels = example()
    assert net.label_smoothing == 0
    assert torch.equal(net.loss(logits, labels), net.eval().loss(logits, labels))


def test_smoothing_and_class_weights_go_together(net) -> None:
    logits, labels = example()
    net.class_weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    net.label_smoothing = 0.2
    wanted = 0.8 * one_hot(labels, CLASSES) + 0.2 / CLASSES
    each = -(wanted * net.class_weights * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(net.loss(logits, labels), each.sum() / net.weight(labels))


def test_the_least_loss_is_the_entropy_of_the_smoothed_label(net) -> None:
    net.label_smoothing = 0.1
    rest = 0.1 / CLASSES
    logits = torch.tensor([[0.9 + rest, rest, rest, rest]]).log()
    entropy = -((0.9 + rest) * math.log(0.9 + rest) + 3 * rest * math.log(rest))
    assert float(net.loss(logits, torch.tensor([0]))) == pytest.approx(entropy)


def test_auxiliary_classifiers_have_smoothed_labels_too() -> None:
    net = zoo.on_meta("googlenet", aux=0.3, classes=CLASSES)
    net.label_smoothing = 0.1
    logits, labels = example()
    outputs = (logits, 2 * logits, 3 * logits)
    shares = one_hot(labels, CLASSES).double()
    parts = [smoothed(value, shares, 0.1) for value in outputs]
    torch.testing.assert_close(net.loss(outputs, labels), parts[0] + 0.3 * (parts[1] + parts[2]))


@pytest.mark.parametrize("shares", [False, True])
def test_a_batch_counts_as_its_images_do(net, shares) -> None:
    _, labels = example()
    assert net.weight(one_hot(labels, CLASSES).double() if shares else labels) == 6


def test_a_batch_counts_as_the_classes_of_its_images_do(net) -> None:
    _, labels = example()
    net.class_weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert net.weight(labels) == 1 + 4 + 2 + 2 + 3 + 1
    shares = one_hot(labels, CLASSES).float()
    assert net.weight(shares) == 6  # torch divides the loss of shares by the images


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sizes", [[6], [4, 2], [1, 2, 3]])
def test_with_these_weights_the_parts_of_a_batch_have_its_mean(
    net, sizes, weighted, shares
) -> None:
    logits, labels = example()
    if weighted:
        net.class_weights = torch.tensor([0.3, 2.0, 1.0, 5.0]).double()
    if shares:
        labels = 0.6 * one_hot(labels, CLASSES).double() + 0.1
    net.label_smoothing = 0.1
    parts = zip(logits.split(sizes), labels.split(sizes), strict=True)
    whole = sum(net.loss(some, own) * net.weight(own) for some, own in parts)
    torch.testing.assert_close(whole / net.weight(labels), net.loss(logits, labels))


def test_most_nets_want_to_see_no_images_before_the_first_step(net) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.prepare(torch.randn(2, 3))
    assert net.SAMPLE == 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
