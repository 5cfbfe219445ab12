from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from asked import CLASSES, MEAN, STD, Flat, flat, images, settings
from learners import CPU
from torch import Tensor
from torch.nn.functional import cross_entropy

from cnnctl.data.prepare import Prepare
from cnnctl.nets.net import Net
from cnnctl.scoring.scorer import Eager, Placed, number


def eager(net: Net, precision: Any = "32-true") -> Eager:
    return Eager(net, settings(), CLASSES, dataclasses.replace(CPU, precision=precision))


def by_hand(net: Net, given: Tensor) -> Tensor:
    """Byte / 255 less the mean, through the net, without dropout."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return net.eval()(((given / 255).double() - mean).div(std).float())


def test_bytes_are_normalised_and_the_net_is_not_in_training() -> None:
    net, given = flat(), images()
    found = eager(net)(given)
    assert (found.dtype, found.shape, found.requires_grad) == (torch.float32, (4, 3), False)
    assert not net.training
    torch.testing.assert_close(found, by_hand(net, given).detach(), atol=1e-5, rtol=1e-5)


def test_images_of_another_size_are_normalised_alike() -> None:
    net, given = flat(), images(size=13)
    torch.testing.assert_close(eager(net)(given), by_hand(net, given).detach())


def test_the_given_bytes_stay_as_they_are() -> None:
    given = images()
    before = given.clone()
    eager(flat())(given)
    assert torch.equal(given, before)


@pytest.mark.parametrize(
    ("precision", "weights", "near"),
    [
        ("64-true", torch.float64, 1e-5),
        ("bf16-mixed", torch.float32, 0.05),
        ("bf16-true", torch.bfloat16, 0.05),
    ],
)
def test_precisions(precision: str, weights: torch.dtype, near: float) -> None:
    given = images()
    exact = eager(flat())(given)
    scorer = eager(flat(), precision)
    assert {value.dtype for value in scorer.net.parameters()} == {weights}
    found = scorer(given)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=near, rtol=0)
    assert not torch.equal(found, exact)


def test_an_image_alone_has_the_logits_that_it_has_among_others() -> None:
    scorer, given = eager(flat()), images(5)
    one_by_one = torch.cat([scorer(one) for one in given.split(1)])
    torch.testing.assert_close(one_by_one, scorer(given), atol=1e-6, rtol=1e-5)


def test_the_loss_is_the_nets_own() -> None:
    class Doubled(Flat):
        def loss(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
            return 2 * super().loss(outputs, labels)

    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 0])
    usual = cross_entropy(logits, labels)
    torch.testing.assert_close(eager(flat()).loss(logits, labels), usual)
    torch.testing.assert_close(eager(Doubled()).loss(logits, labels), 2 * usual)


def test_a_loss_is_not_smoothed() -> None:
    net = flat()
    net.label_smoothing = 0.5
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 0])
    torch.testing.assert_close(eager(net).loss(logits, labels), cross_entropy(logits, labels))


def test_bytes_in_any_layout_give_the_same_logits() -> None:
    net, given = flat(), images()
    prepare = Prepare(settings(), 3)
    turned = given.to(memory_format=torch.channels_last)
    assert torch.equal(prepare.plain(given), prepare.plain(turned))
    assert torch.equal(eager(net)(given), eager(net)(turned))


@pytest.mark.parametrize(
    ("precision", "found"),
    [("32-true", (torch.float32, False)), ("16-mixed", (torch.float16, True)),
     ("16-true", (torch.float16, False)), ("bf16-mixed", (torch.bfloat16, True)),
     ("bf16-true", (torch.bfloat16, False)), ("64-true", (torch.float64, False))],
)  # fmt: skip
def test_the_number_format_of_a_precision(precision: str, found: tuple[torch.dtype, bool]) -> None:
    assert number(precision) == found


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_a_placed_net_computes_what_is_evaluated(precision: Any) -> None:
    device, given = dataclasses.replace(CPU, precision=precision), images()
    expected = eager(flat(), precision)(given)
    prepared = Prepare(settings(), len(CLASSES)).plain(given)
    placed = Placed(flat(), device, channels_last=False)
    assert torch.equal(placed(prepared).float(), expected)
    assert torch.equal(placed(placed.given(prepared)).float(), expected)
