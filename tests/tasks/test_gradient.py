from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import one_hot

from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.errors import TrainingError
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Gradient, Measure, Measured, is_oom, seed

TASK: Any = SimpleNamespace(trainer=SimpleNamespace(world_size=1, precision="64-true"))
CPU = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"
FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    RuntimeError(CPU),
    MemoryError(),
]


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


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 8))
def test_parts_and_pieces_of_any_size_have_the_gradient_of_the_whole_batch(sizes, pieces) -> None:
    net, batches = small(), step(sizes)
    gradient = Gradient(net, forward(net))
    gradient.pieces = pieces
    found = added(gradient, batches)
    whole = Batch(*(torch.cat(part) for part in list(zip(*batches, strict=True))[:2]), Ticket)  # pyright: ignore[reportArgumentType]
    close(found, expected(net, [whole]))
    loss = torch.stack(gradient.losses).sum()
    torch.testing.assert_close(loss, net.loss(net(whole.images), whole.labels))
    assert torch.equal(torch.cat([part.labels for part in gradient.measured]), whole.labels)
    assert not any(value.requires_grad for part in gradient.measured for value in part)


@pytest.mark.parametrize("pieces", [1, 2, 3, 8])
@pytest.mark.parametrize("how", [{"weighted": True}, {"shares": True}, {}])
@pytest.mark.parametrize("sizes", [[8], [7, 3], [5, 5, 1]])
def test_pieces_with_weighted_classes_have_the_gradient_of_their_batch(sizes, how, pieces) -> None:
    net, batches = small(weighted="weighted" in how), step(sizes, shares="shares" in how)
    gradient = Gradient(net, forward(net))
    gradient.pieces = pieces
    close(added(gradient, batches), expected(net, batches))


def test_a_single_batch_is_not_scaled() -> None:
    net, batches = small(), step([6])
    loss = net.loss(net(batches[0].images), batches[0].labels)
    wanted = torch.autograd.grad(loss, list(net.parameters()))
    found = added(Gradient(net, forward(net)), batches)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_gradients_of_the_step_before_go_once_the_first_forward_pass_is_over() -> None:
    net, standing = small(), []
    measure = forward(net)

    def noting(images: Tensor, labels: Tensor) -> Measured:
        standing.append([value.grad is not None for value in net.parameters()])
        return measure(images, labels)

    gradient = Gradient(net, noting)
    first = added(gradient, step([4, 2]))
    gradient.clear()
    assert (gradient.parts, gradient.measured, gradient.losses) == ([], [], [])
    second = added(gradient, step([4, 3]))
    close(second, expected(net, step([4, 3])))
    assert not torch.equal(first[0], second[0])
    assert [any(one) for one in standing] == [False, True, True, True]


def test_what_a_net_draws_is_the_batches_own() -> None:
    net = small(drops=True)
    found = []
    for number in range(3):
        torch.rand(number)
        gradient = Gradient(net, forward(net))
        found.append(added(gradient, step([4, 4])))
    assert all(torch.equal(one, other) for one, other in zip(found[0], found[2], strict=True))
    images, labels, ticket = step([4])[0]
    words = [added(Gradient(net, forward(net)), [Batch(images, labels, ticket._replace(word=word))])
             for word in (1, 2)]  # fmt: skip
    assert not torch.equal(words[0][0], words[1][0])


@pytest.mark.parametrize("word", [0, 7, 2**63 - 1, 2**63, 2**64 - 1])
def test_every_word_is_a_seed(word) -> None:
    seed(word, torch.device("cpu"))
    first = torch.rand(2)
    seed(word, torch.device("cpu"))
    assert torch.equal(torch.rand(2), first)


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
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_a_part_that_fails_on_the_way_back_leaves_nothing_of_its_gradient(fails) -> None:
    net, measure = small(), forward(small())
    batches, calls = step([4, 6, 3]), 0

    def run(images: Tensor, labels: Tensor) -> Measured:
        nonlocal calls
        calls += 1
        logits = net(images)
        logits = Full.apply(logits) if calls == fails + 1 else logits
        return Measured(net.loss(logits, labels), logits, labels)

    assert measure is not None
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


@pytest.mark.parametrize("sizes", [[3], [3, 3, 2]])
@pytest.mark.parametrize("pieces", [1, 2])
def test_several_processes_exchange_the_gradient_once_a_step(sizes, pieces) -> None:
    net, alone, seen = small(), [False], []

    @contextlib.contextmanager
    def no_sync() -> Iterator[None]:
        alone[0] = True
        yield
        alone[0] = False

    def back(loss: Tensor) -> None:
        seen.append(alone[0])
        loss.backward()

    model = SimpleNamespace(no_sync=no_sync)
    trainer = SimpleNamespace(world_size=2, precision="32-true", model=model)
    task: Any = SimpleNamespace(trainer=trainer, manual_backward=back)
    gradient = Gradient(net, forward(net))
    gradient.pieces = pieces
    for batch in step(sizes):
        gradient.add(batch, task)
    assert seen == [True] * (len(sizes) * pieces - 1) + [False]


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
batch = Batch(torch.randn(16, 1, 130, 130), torch.arange(16) % 2, Ticket(np.arange(16), 0, images=16))
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
