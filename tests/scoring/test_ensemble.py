from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from answered import answers, guessed
from torch.nn.functional import nll_loss

from cnnctl.scoring import predictions
from cnnctl.scoring.compare import compare
from cnnctl.scoring.ensemble import gains, together


def members(number: int = 3, images: int = 300):
    """Nets that are wrong independently of each other."""
    first = guessed(images, 4, 0, skill=1.5)
    found = [first]
    for seed in range(1, number):
        torch.manual_seed(seed)
        logits = torch.randn(images, 4)
        logits[torch.arange(images), first.labels] += 1.5
        loss = float(torch.nn.functional.cross_entropy(logits.double(), first.labels))
        found.append(replace(first, logits=logits, loss=loss))
    return found


def test_probabilities_are_averaged_and_not_logits() -> None:
    nets = members()
    whole = together(nets)
    wanted = torch.stack([one.logits.softmax(1) for one in nets]).mean(0)
    torch.testing.assert_close(whole.probabilities, wanted)
    assert not torch.allclose(
        whole.probabilities, torch.stack([one.logits for one in nets]).mean(0).softmax(1), atol=1e-3
    )
    assert whole.loss == pytest.approx(float(nll_loss(wanted.log(), nets[0].labels)))
    assert whole.seconds == sum(one.seconds for one in nets)
    assert (whole.names, whole.classes) == (nets[0].names, nets[0].classes)


def test_a_net_with_itself_is_itself() -> None:
    (net,) = members(1)
    whole = together([net, net])
    torch.testing.assert_close(whole.probabilities, net.probabilities)
    assert whole.loss == pytest.approx(net.loss)


def test_nets_that_are_sure_of_different_classes_give_numbers() -> None:
    first = guessed(2, 4)
    sure = [replace(first, logits=torch.eye(4)[[label, label]] * 1e4) for label in (0, 1)]
    whole = together(sure)
    assert torch.isfinite(whole.logits).all()
    assert whole.probabilities[0].tolist() == pytest.approx([0.5, 0.5, 0, 0])


def test_independent_nets_gain() -> None:
    nets = [predictions.of(one) for one in members(5, 500)]
    whole = predictions.of(together([one.scores for one in nets]))
    told = gains(nets, whole, 0)
    shares = [float(one.right.float().mean()) for one in nets]
    assert told["mean_top1"] == pytest.approx(sum(shares) / 5)
    assert told["best_top1"] == pytest.approx(max(shares))
    assert shares[told["best"]] == max(shares)
    top1 = float(whole.right.float().mean())
    mean, best = told["gain_over_mean"], told["gain_over_best"]
    assert mean["difference"] == pytest.approx(top1 - sum(shares) / 5)
    assert mean["interval"][0] > 0
    assert mean["interval"][0] < mean["difference"] < mean["interval"][1]
    assert best == compare(nets[told["best"]], whole, 0)
    assert best["better"] == 1
    loss = told["loss_gain_over_mean"]
    losses = [one.scores.loss or 0 for one in nets]
    assert loss["difference"] == pytest.approx(sum(losses) / 5 - (whole.scores.loss or 0))
    assert loss["interval"][0] > 0


def test_the_first_of_equally_good_nets_is_the_best() -> None:
    one, other = answers([1, 0]), answers([0, 1])
    assert gains([one, other], one, 0)["best"] == 0


def test_without_the_loss_of_every_net_there_is_no_gain_in_loss() -> None:
    one = answers([1, 0, 1])
    assert gains([one, replace(one, losses=None)], one, 0)["loss_gain_over_mean"] is None
    assert gains([one, one], one, 0)["loss_gain_over_mean"]["difference"] == 0
