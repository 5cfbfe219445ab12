"""A small net in float64, batches of a step, and the gradient that both must give."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Gradient, Measure, Measured

TASK: Any = SimpleNamespace(trainer=SimpleNamespace(world_size=1, precision="64-true"))


def small(*, drops: bool = False, weighted: bool = False) -> Net:
    torch.manual_seed(0)
    layers = OrderedDict[str, nn.Module](
        hidden=nn.Linear(5, 7), act=nn.Tanh(), drop=nn.Dropout(0.5 * drops), head=nn.Linear(7, 3)
    )
    net = Net(layers, "torch").double().train()
    if weighted:
        net.class_weights = torch.tensor([0.2, 3.0, 1.0]).double()
    return net


def forward(net: Net) -> Measure:
    def measure(images: Tensor, labels: Tensor) -> Measured:
        logits = net(images)
        return Measured(net.loss(logits, labels), logits, labels)

    return measure


def step(sizes: list[int], *, shares: bool = False) -> list[Batch]:
    """The batches of one step, of so many images each."""
    generator = torch.Generator().manual_seed(sum(sizes))
    images = torch.randn(sum(sizes), 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (sum(sizes),), generator=generator)
    if shares:
        labels = 0.7 * one_hot(labels, 3) + 0.3 * one_hot(labels.flip(0), 3).double()
    numbers = torch.arange(sum(sizes)).split(sizes)
    return [
        Batch(
            images[samples], labels[samples],
            Ticket(samples.numpy(), 0, number, 40 + number, sum(sizes), number + 1 == len(sizes)),
        )
        for number, samples in enumerate(numbers)
    ]  # fmt: skip


def added(gradient: Gradient, batches: list[Batch]) -> list[Tensor]:
    """The gradient of a step, as it stands in the net; every part can be read again."""
    gradient.again = lambda ticket: batches[ticket.number]
    for batch in batches:
        gradient.add(batch, TASK)
    return [value.grad.clone() for value in gradient.net.parameters() if value.grad is not None]


def expected(net: Net, batches: list[Batch]) -> list[Tensor]:
    """The mean over the batches, each counting by its images."""
    whole = sum(len(batch.images) for batch in batches)
    loss = torch.zeros((), dtype=torch.float64)
    for images, labels, _ in batches:
        loss = loss + net.loss(net(images), labels) * len(images) / whole
    return list(torch.autograd.grad(loss, list(net.parameters())))


def close(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
