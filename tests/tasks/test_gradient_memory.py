"""Steps that do not fit into memory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from gradients import added, close, expected, forward, small, step
from torch import Tensor

from cnnctl.errors import TrainingError
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Gradient, Measure, Measured, is_oom

CPU = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"
FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    RuntimeError(CPU),
    MemoryError(),
]


def fitting(net: Net, most: int, error: BaseException) -> tuple[Measure, list[int]]:
    """A forward pass that takes no more than so many images, and how many it was given."""
    measure, given_ = forward(net), []

    def run(images: Tensor, labels: Tensor) -> Measured:
        given_.append(len(images))
        if len(images) > most:
            raise error
        return measure(images, labels)

    return run, given_


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__ + str(error)[:5])
@pytest.mark.parametrize(("most", "pieces"), [(8, 1), (7, 2), (4, 2), (3, 4), (2, 4), (1, 8)])
def test_what_does_not_fit_is_made_in_pieces_from_then_on(error, most, pieces) -> None:
    net = small(weighted=True)
    run, taken = fitting(net, most, error)
    gradient, told = Gradient(net, run, split=True), []
    gradient.notice = told.append
    for sizes in ([2, 1], [8, 8, 5], [8, 2]):  # small ones first: it may be any step
        close(added(gradient, step(sizes)), expected(net, step(sizes)))
        assert sum(len(part.labels) for part in gradient.measured) == sum(sizes)
        gradient.clear()
    assert gradient.pieces == pieces
    assert max(taken[-2 * pieces :]) <= most
    halved = {2: [4], 4: [4, 2], 8: [4, 2, 1]}.get(pieces, [])
    if most > 2:
        assert told == [
            f"out of memory: batches of 8 are made in pieces of {size} from here on"
            for size in halved
        ]


class Full(torch.autograd.Function):
    """Fails on the way back."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return values.clone()

    @staticmethod
    def backward(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_a_part_that_fails_on_the_way_back_leaves_nothing_of_its_gradient(fails) -> None:
    net, batches, calls = small(), step([4, 6, 3]), 0

    def run(images: Tensor, labels: Tensor) -> Measured:
        nonlocal calls
        calls += 1
        logits = net(images)
        logits = Full.apply(logits) if calls == fails + 1 else logits
        return Measured(net.loss(logits, labels), logits, labels)

    gradient = Gradient(net, run, split=True)
    close(added(gradient, batches), expected(net, batches))
    assert [ticket.number for ticket in gradient.parts] == [0, 1, 2]
    torch.testing.assert_close(
        torch.cat([part.labels for part in gradient.measured]),
        torch.cat([batch.labels for batch in batches]),
    )


def test_one_image_that_does_not_fit_ends_the_run() -> None:
    net = small()
    run, taken = fitting(net, 0, FULL[0])
    with pytest.raises(TrainingError) as caught:
        added(Gradient(net, run, split=True), step([5]))
    text = "out of memory with a single image (a smaller net, or data.size)"
    assert str(caught.value) == text
    assert taken == [5, 3, 2, 1]


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__ + str(error)[:5])
def test_without_split_the_error_goes_on(error) -> None:
    net = small()
    with pytest.raises(type(error)):
        added(Gradient(net, fitting(net, 0, error)[0]), step([5]))


def test_other_errors_are_no_want_of_memory() -> None:
    net, wrong = small(), RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_oom(wrong)
    with pytest.raises(RuntimeError, match="shapes"):
        added(Gradient(net, fitting(net, 0, wrong)[0], split=True), step([5]))
    assert all(is_oom(error) for error in FULL)


LIMITED = """
import resource, sys, torch, numpy as np
from collections import OrderedDict
from types import SimpleNamespace
from torch import nn
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Gradient, Measured
torch.manual_seed(0)
net = Net(OrderedDict(c=nn.Conv2d(1, 64, 3), a=nn.ReLU(), p=nn.AdaptiveAvgPool2d(1),
                      f=nn.Flatten(), d=nn.Linear(64, 2)), "torch").train()
def measure(images, labels):
    logits = net(images)
    return Measured(net.loss(logits, labels), logits, labels)
task = SimpleNamespace(trainer=SimpleNamespace(world_size=1, precision="32-true"))
ticket = Ticket(np.arange(16), 0, images=16)
batch = Batch(torch.randn(16, 1, 130, 130), torch.arange(16) % 2, ticket)
found = []
for limit in (None, 150_000_000):
    gradient = Gradient(net, measure, split=True)
    gradient.again = lambda _: batch
    gradient.notice = print
    if limit:
        pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (pages + limit, -1))
    gradient.add(batch, task)
    found.append([value.grad.clone() for value in net.parameters()])
for one, other in zip(*found):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_is_really_used_up_is_known_and_got_along_with() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("out of memory: batches of 16 are made in pieces of 8 from here")
