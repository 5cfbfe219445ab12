from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import nn

from cnnctl.nets.init import FILLS, fans, initialise
from cnnctl.nets.spec import Init

SPREAD = ("he", "he_fan_out", "gaussian")
RANGE = ("xavier", "lecun")
LAYERS = {
    "conv": (nn.Conv2d(64, 128, 3), 576, 1152),
    "oblong": (nn.Conv2d(64, 128, (1, 7), bias=False), 448, 896),
    "grouped": (nn.Conv2d(64, 256, 3, groups=4), 144, 576),
    "depthwise": (nn.Conv2d(2048, 2048, 3, groups=2048), 9, 9),
    "dense": (nn.Linear(300, 200), 300, 200),
}


def expected(rule: str, fan_in: int, fan_out: int) -> float:
    """The standard deviation, or the limit of the range."""
    return {
        "he": math.sqrt(2 / fan_in),
        "he_fan_out": math.sqrt(2 / fan_out),
        "gaussian": 0.01,
        "xavier": math.sqrt(6 / (fan_in + fan_out)),
        "lecun": 2.4 / fan_in,
    }[rule]


def test_every_rule_of_the_spec_is_known() -> None:
    assert set(get_args(Init)) == {*FILLS, "torch"} == {*SPREAD, *RANGE, "torch"}


@pytest.mark.parametrize("name", LAYERS)
def test_the_fans_are_those_counted_by_hand(name) -> None:
    layer, fan_in, fan_out = LAYERS[name]
    assert fans(layer) == (fan_in, fan_out)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rule", [*SPREAD, *RANGE])
def test_weights_have_the_spread_of_the_rule_and_biases_are_zero(rule, name) -> None:
    torch.manual_seed(0)
    layer, fan_in, fan_out = LAYERS[name]
    initialise(nn.Sequential(nn.Sequential(layer)), rule)
    if rule == "he_fan_out" and isinstance(layer, nn.Linear):
        fan_out = fan_in
    weight, wanted = layer.weight.detach(), expected(rule, fan_in, fan_out)
    if rule in RANGE:
        assert 0.999 * wanted < weight.abs().max() <= wanted
        wanted /= math.sqrt(3)
    assert weight.std().item() == pytest.approx(wanted, rel=0.03)
    assert abs(weight.mean().item()) < 4 * wanted / math.sqrt(weight.numel())
    assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("rule", SPREAD)
def test_the_spread_is_normal(rule) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 200)
    initialise(layer, rule)
    within = (layer.weight.abs() < layer.weight.std()).float().mean().item()
    assert within == pytest.approx(0.6827, abs=0.01)


def test_torch_leaves_everything_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    before, generator = [value.clone() for value in net.parameters()], torch.get_rng_state()
    initialise(net, "torch")
    assert all(map(torch.equal, net.parameters(), before))
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("rule", FILLS)
def test_only_convolutions_and_dense_layers_are_filled(rule) -> None:
    others = nn.Sequential(
        nn.ConvTranspose1d(3, 4, 2), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.PReLU()
    )
    for value in others.parameters():
        nn.init.uniform_(value)
    before = [value.clone() for value in others.parameters()]
    initialise(others, rule)
    assert all(map(torch.equal, others.parameters(), before))


@pytest.mark.parametrize("rule", FILLS)
def test_transposed_convolutions_keep_a_signal_as_convolutions_do(rule) -> None:
    torch.manual_seed(0)
    up, plain = nn.ConvTranspose2d(256, 64, 2, 2), nn.Conv2d(256, 64, 1)
    for layer in (up, plain):
        initialise(layer, rule)
    assert not up.bias.any()
    if rule in ("he", "gaussian", "lecun"):  # each output of 2x2, stride 2, sums 256 products
        assert up.weight.std().item() == pytest.approx(plain.weight.std().item(), rel=0.03)
    if rule == "he":
        image = torch.randn(8, 256, 6, 6)
        assert float(up(image).detach().square().mean()) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("rule", FILLS)
def test_the_same_seed_gives_the_same_weights_and_they_still_train(rule) -> None:
    nets = [nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)]
    for net in nets:
        torch.manual_seed(1)
        initialise(net, rule)
    assert torch.equal(nets[0].weight, nets[1].weight)
    assert nets[0].weight.requires_grad
    assert nets[0].weight.grad_fn is None
