"""Which batches make which step, and where a resumed epoch goes on."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.data.order import Batches, Order, Ticket

some = settings(max_examples=60, deadline=None)


def resumed(order: Order, batch_size: int, parts: int, place: tuple[int, int]) -> Batches:
    """A loader's batches after a resume at (epoch, steps made in it), two of them alone."""
    batches = Batches(order, batch_size, parts=parts, alone=2)
    batches.resume(*place)
    return batches


def told(lists: list[list[Ticket]]) -> list[tuple[Any, ...]]:
    """Everything that the tickets say, in their order."""
    return [(ticket.samples.tolist(), *ticket[1:]) for several in lists for ticket in several]


shapes = st.tuples(st.integers(1, 60), st.integers(1, 9), st.integers(1, 5))
places = st.integers(1, 3).flatmap(
    lambda world: st.tuples(st.just(world), st.integers(0, world - 1))
)


@some
@given(shapes, places, st.integers(0, 2), st.integers(1, 7))
def test_an_epoch_that_is_resumed_at_any_step_is_the_rest_of_it(shape, place, epoch, chunk) -> None:
    (images, batch_size, parts), (world, rank) = shape, place
    order = Order(images, 3, world=world, rank=rank)
    begun = Batches(order, batch_size, parts=parts, alone=2)
    begun.set_epoch(epoch)
    whole = told(list(begun))
    steps = [number for number, ticket in enumerate(whole, 1) if ticket[-1]]  # `last` of a step
    for made, done in enumerate([0, *steps]):
        batches = resumed(order, batch_size, parts, (epoch, made))
        batches.chunk = chunk
        lists = list(batches)
        assert told(lists) == whole[done:]
        assert (lists == [[]]) == (done == len(whole))
        assert max(map(len, lists)) <= chunk


def test_the_epoch_after_a_resumed_one_is_whole() -> None:
    order = Order(20, 0)
    batches = resumed(order, 4, 1, (2, 3))
    assert len(told(list(batches))) == 2
    batches.set_epoch(3)
    fresh = Batches(order, 4)
    fresh.set_epoch(3)
    assert told(list(batches)) == told(list(fresh))


def test_batches_that_come_alone_are_not_alone_again() -> None:
    batches = resumed(Order(40, 0), 4, 1, (0, 1))
    batches.chunk = 3
    assert [len(several) for several in batches] == [1, 3, 3, 2]


@some
@given(shapes, places)
def test_parts_make_a_step_and_know_how_many_images_it_has(shape, place) -> None:
    (images, batch_size, parts), (world, rank) = shape, place
    order = Order(images, 3, world=world, rank=rank)
    found = [ticket for (ticket,) in Batches(order, batch_size, parts=parts)]
    assert [ticket.number for ticket in found] == list(range(len(found)))
    steps: list[list[Ticket]] = [[]]
    for ticket in found:
        steps[-1].append(ticket)
        if ticket.last:
            steps.append([])
    assert steps.pop() == []  # the last batch of an epoch ends a step
    for step in steps:
        assert {ticket.images for ticket in step} == {sum(len(one.samples) for one in step)}
    assert {len(step) for step in steps[:-1]} <= {parts}
    assert len(steps[-1]) <= parts


def test_every_batch_of_every_process_and_epoch_has_a_word_of_its_own() -> None:
    words: list[int] = []
    for seed, rank, epoch in itertools.product((0, 1), range(3), range(4)):
        batches = Batches(Order(90, seed, world=3, rank=rank), 2)
        batches.set_epoch(epoch)
        words += [ticket.word for (ticket,) in batches]
    assert len(set(words)) == len(words) == 2 * 3 * 4 * 15
    assert all(0 <= word < 2**64 for word in words)
    assert sum(word >= 2**63 for word in words) == pytest.approx(len(words) / 2, rel=0.2)


def test_measuring_has_no_words_and_steps_of_one_batch() -> None:
    (ticket,) = next(iter(Batches(Order(5, None), 5)))
    assert (ticket.number, ticket.word, ticket.images, ticket.last) == (0, 0, 0, True)
