"""Moments of an update rule lie in memory as the weights do, wherever a checkpoint was written."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from learners import Learns
from torch import Tensor, nn

from cnnctl.nets.net import Net

IMAGES = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))
RULES = {
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.1, amsgrad=True),
    "fused": lambda weights: torch.optim.AdamW(weights, lr=0.1, fused=True),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
}


def started(rule: str, layout: torch.memory_format) -> tuple[Learns, torch.optim.Optimizer]:
    """A net of that layout, and its update rule."""
    torch.manual_seed(0)
    layers = OrderedDict[str, nn.Module](
        first=nn.Conv2d(3, 4, 3), point=nn.Conv2d(4, 5, 1), flat=nn.Flatten(),
        head=nn.Linear(80, 2),
    )  # fmt: skip
    task = Learns(Net(layers, "torch").train(), None)
    task.net.to(memory_format=layout)  # pyright: ignore[reportCallIssue] - torch's annotation lacks it
    optimizer = RULES[rule](task.net.parameters())
    task._trainer = SimpleNamespace(optimizers=[optimizer])
    return task, optimizer


def step(task: Learns, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    task.net(IMAGES).square().mean().backward()
    optimizer.step()


def moments(optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, str, Any]]:
    found = optimizer.state.items()
    return [(weight, name, value) for weight, state in found for name, value in state.items()]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("turned", [True, False])
def test_moments_get_the_strides_of_the_weights(tmp_path, rule, turned) -> None:
    layouts = [torch.contiguous_format, torch.channels_last]
    task, optimizer = started(rule, layouts[turned])
    step(task, optimizer)
    file = tmp_path / "state.pt"
    torch.save([task.net.state_dict(), optimizer.state_dict()], file)
    other, second = started(rule, layouts[not turned])
    weights, state = torch.load(file, weights_only=True)
    other.net.load_state_dict(weights)
    second.load_state_dict(state)
    assert any(
        value.stride() != weight.stride() for weight, _, value in moments(second) if value.ndim
    )
    other.on_train_start()
    for (weight, name, value), (_, same, before) in zip(
        moments(second), moments(optimizer), strict=True
    ):
        assert (name, value.dtype) == (same, before.dtype)
        assert torch.equal(value, before)
        assert not value.ndim or value.stride() == weight.stride()
    for one, rules in ((task, optimizer), (other, second)):
        step(one, rules)
    for one, two in zip(task.net.parameters(), other.net.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_a_run_that_begins_has_no_moments_yet(rule) -> None:
    task, optimizer = started(rule, torch.channels_last)
    task.on_train_start()
    assert moments(optimizer) == []
