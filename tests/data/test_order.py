from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.data.order import Batches, Order, Ticket

some = settings(max_examples=60, deadline=None)
counts = st.integers(1, 200)
seeds = st.integers(0, 2**32 - 1)


@some
@given(counts, seeds, st.integers(0, 10_000))
def test_an_epoch_is_a_permutation_of_the_images(images, seed, epoch) -> None:
    found = Order(images, seed).of(epoch)
    assert found.dtype == np.int64
    assert sorted(found) == list(range(images))
    assert len(Order(images, seed)) == images


@some
@given(counts, seeds, st.integers(0, 50))
def test_an_epoch_is_the_same_whatever_was_asked_before(images, seed, epoch) -> None:
    fresh = Order(images, seed).of(epoch)
    used = Order(images, seed)
    for before in (3, epoch, 0):
        used.of(before)
    assert np.array_equal(used.of(epoch), fresh)


def test_seeds_and_epochs_give_different_orders() -> None:
    found = [Order(100, seed).of(epoch).tolist() for seed in (0, 1, 2**32 - 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in found}) == 6


def test_every_image_comes_everywhere_equally_often() -> None:
    places = np.array([Order(5, 7).of(epoch) for epoch in range(4000)])
    for image in range(5):
        shares = (places == image).mean(0)
        assert shares == pytest.approx([0.2] * 5, abs=0.03)


@some
@given(counts, st.integers(1, 9), seeds, st.integers(0, 9))
def test_training_gives_every_process_as_many_and_leaves_nobody_out(
    images, world, seed, epoch
) -> None:
    orders = [Order(images, seed, world=world, rank=rank) for rank in range(world)]
    shares = [order.of(epoch) for order in orders]
    assert {len(share) for share in shares} == {-(-images // world)}
    assert [len(order) for order in orders] == [len(share) for share in shares]
    whole = Order(images, seed).of(epoch)
    dealt = np.stack(shares, 1).ravel()  # one image to each process in turn
    assert np.array_equal(dealt[:images], whole)
    assert np.array_equal(dealt[images:], np.resize(whole, len(dealt))[images:])


@some
@given(counts, st.integers(1, 9))
def test_measuring_takes_every_image_once_and_in_order(images, world) -> None:
    orders = [Order(images, None, world=world, rank=rank) for rank in range(world)]
    shares = [order.of(3).tolist() for order in orders]
    assert sorted(image for share in shares for image in share) == list(range(images))
    assert all(share == sorted(share) for share in shares)
    assert [len(order) for order in orders] == [len(share) for share in shares]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_weights_are_drawn_in_proportion() -> None:
    weights = np.array([1.0, 2.0, 0.0, 5.0])
    order = Order(4, 0, weights=weights)
    found = np.concatenate([order.of(epoch) for epoch in range(5000)]) % 4
    shares = np.bincount(found, minlength=4) / len(found)
    assert shares == pytest.approx(weights / 8, abs=0.015)
    assert shares[2] == 0


def test_an_image_that_is_drawn_again_has_a_number_of_its_own() -> None:
    weights = np.array([1.0, 1.0, 98.0])
    order = np.concatenate([Order(3, 0, weights=weights).of(epoch) for epoch in range(50)])
    epochs = order.reshape(50, 3)
    assert all(len(set(epoch)) == 3 for epoch in epochs.tolist())
    assert set(order[order % 3 == 2]) == {2, 5, 8}
    assert (np.sort(epochs, 1)[(epochs % 3 == 2).all(1)] == [2, 5, 8]).all()


def test_weights_are_shared_by_several_processes() -> None:
    weights = np.arange(1.0, 12.0)
    whole = Order(11, 3, weights=weights).of(2)
    shares = [Order(11, 3, world=2, rank=rank, weights=weights).of(2) for rank in (0, 1)]
    assert np.array_equal(np.stack(shares, 1).ravel()[:11], whole)
    assert not np.array_equal(whole, Order(11, 3, weights=weights).of(3))


def tickets(batches: Batches) -> list[tuple[list[int], int | None]]:
    return [(ticket.samples.tolist(), ticket.epoch) for chunk in batches for ticket in chunk]


def at(order: Order, batch_size: int, epoch: int, *, alone: int = 0, chunk: int = 1) -> Batches:
    batches = Batches(order, batch_size, alone=alone)
    batches.set_epoch(epoch)
    batches.chunk = chunk
    return batches


@some
@given(
    counts, st.integers(1, 40), st.integers(0, 3), st.integers(0, 3), st.lists(st.integers(1, 32))
)
def test_the_batches_are_the_same_however_many_come_at_once(
    images, batch_size, epoch, alone, sizes
) -> None:
    order = Order(images, 5)
    single = tickets(at(order, batch_size, epoch))
    assert sum((samples for samples, _ in single), []) == order.of(epoch).tolist()  # noqa: RUF017 - short lists
    assert {found for _, found in single} == {epoch}
    for chunk in (1, 3, 32):
        assert tickets(at(order, batch_size, epoch, alone=alone, chunk=chunk)) == single
    changing = at(order, batch_size, epoch, alone=alone)
    assert list(_while_changing(changing, sizes)) == single


def _while_changing(batches: Batches, sizes: list[int]) -> Iterator[tuple[list[int], int | None]]:
    for number, chunk in enumerate(batches):
        if sizes:
            batches.chunk = sizes[number % len(sizes)]
        for ticket in chunk:
            yield ticket.samples.tolist(), ticket.epoch


@pytest.mark.parametrize(
    ("epoch", "lengths"), [(0, [1, 1, 3, 3, 2]), (1, [3, 3, 3, 1]), (7, [3, 3, 3, 1])]
)
def test_the_first_batches_of_the_first_epoch_come_alone(epoch, lengths) -> None:
    batches = at(Order(95, 0), 10, epoch, alone=2, chunk=3)
    assert [len(chunk) for chunk in batches] == lengths
    assert len(batches) == 10


def test_a_new_chunk_size_counts_from_the_next_chunk_on() -> None:
    batches = at(Order(100, 0), 10, 1, chunk=2)
    chunks = iter(batches)
    assert len(next(chunks)) == 2
    batches.chunk = 5
    assert [len(chunk) for chunk in chunks] == [5, 3]


@pytest.mark.parametrize(("images", "sizes"), [(20, [8, 8, 4]), (16, [8, 8]), (3, [3])])
def test_the_last_batch_is_what_is_left(images, sizes) -> None:
    batches = at(Order(images, 0), 8, 0, chunk=2)
    assert [len(ticket.samples) for chunk in batches for ticket in chunk] == sizes
    assert len(batches) == len(sizes)


def test_a_process_without_an_image_to_measure_gets_one_empty_list() -> None:
    """Lightning ends a run in which a loader of one process has no length."""
    batches = Batches(Order(1, None, world=2, rank=1), 4)
    assert list(batches) == [[]]
    assert len(batches) == 1


def test_measuring_has_no_epoch_and_hands_over_one_batch_at_a_time() -> None:
    batches = Batches(Order(5, None), 2)
    batches.sampler.set_epoch(4)  # Lightning does it for every loader
    chunks = list(batches)
    assert [len(chunk) for chunk in chunks] == [1, 1, 1]
    assert tickets(batches) == [([0, 1], None), ([2, 3], None), ([4], None)]
    assert isinstance(chunks[0][0], Ticket)
