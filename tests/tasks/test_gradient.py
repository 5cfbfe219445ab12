from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gradients import added, close, expected, forward, small, step
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.tasks.gradient import Gradient, Measured, seed


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
