"""Batches that are read once more, epochs that are repeated, and loader processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from images import colour, configured, encoded, mixed, source
from torch import Tensor

from cnnctl import data
from cnnctl.data import reading
from cnnctl.data.module import DataModule
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.data.source import Feed, Source

IMAGES, SIZE = 29, 4
AUGMENTS = ("none", "flip_crop", "resized_crop", "mixup")


def photos(workers: int = 0, *more: str, **options: Any) -> DataModule:
    """Images of many sizes that are decoded each time, by so many processes."""
    train = colour(f"data.batch_size={SIZE}", *more)
    found = source(encoded(mixed(40)), train=IMAGES)
    feeds = {split: Feed(kind="decode", workers=workers) for split in found.splits}
    return DataModule(Source(found.classes, found.splits, feeds=feeds), train, **options)


def given(module: DataModule, loader: Any) -> list[Batch]:
    """All batches of an epoch, as the net gets them."""
    return [batch for some in loader for batch in module.on_after_batch_transfer(some, 0)]


def trained(module: DataModule, epoch: int) -> list[Batch]:
    """The batches of training in an epoch."""
    loader: Any = module.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    return given(module, loader)


def same(first: list[Batch], second: list[Batch]) -> bool:
    pairs = list(zip(first, second, strict=True))
    assert [one.ticket[1:] for one, _ in pairs] == [other.ticket[1:] for _, other in pairs]
    return all(
        torch.equal(a, b) for one, other in pairs for a, b in zip(one[:2], other[:2], strict=True)
    )


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("epoch", [0, 3])
def test_a_batch_is_read_again_with_the_same_changes(augment, epoch) -> None:
    module = photos(0, f"augment={augment}")
    batches = trained(module, epoch)
    assert same([module.again(batch.ticket) for batch in reversed(batches)][::-1], batches)


def test_a_batch_of_weighted_draws_is_read_again() -> None:
    """Its tickets number an image that comes twice as another one."""
    module = photos(0, "augment=flip_crop", "data.balance=sample")
    batches = trained(module, 0)
    assert any((batch.ticket.samples >= IMAGES).any() for batch in batches)
    assert same([module.again(batch.ticket) for batch in batches], batches)


def test_it_comes_in_the_numbers_of_the_net_and_on_its_device(monkeypatch) -> None:
    module = photos()
    (ticket, *_) = [batch.ticket for batch in trained(module, 0)]
    moved: list[torch.device] = []

    def move(pixels: Any, device: torch.device, _: int) -> Any:
        moved.append(device)
        return pixels

    def double(value: Tensor) -> Tensor:
        return value.double() if value.is_floating_point() else value

    monkeypatch.setattr(module, "transfer_batch_to_device", move)
    trainer: Any = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("meta")),
        precision_plugin=SimpleNamespace(convert_input=double),
    )
    module.trainer = trainer
    images, labels, _ = module.again(ticket)
    assert (images.dtype, labels.dtype) == (torch.float64, torch.int64)
    assert moved == [torch.device("meta")]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("epoch", [0, 2])
def test_an_epoch_is_repeated_batch_by_batch(workers, epoch) -> None:
    expected = trained(photos(0, "augment=flip_crop"), epoch)
    module = photos(workers, "augment=flip_crop", chunked=True)
    lists = list(module.repeat(epoch))
    assert {len(some) for some in lists} == {1}
    assert same(given(module, lists), expected)


def test_what_is_repeated_disturbs_no_training() -> None:
    expected = trained(photos(), 1)
    module = photos()
    loader: Any = module.train_dataloader()
    loader.batch_sampler.set_epoch(1)
    lists = iter(loader)
    first = [next(lists), next(lists)]
    sampler = module.batches
    assert len(given(module, module.repeat(0))) == 8
    assert module.batches is sampler
    assert same(given(module, [*first, *lists]), expected)


def test_a_resumed_run_repeats_whole_epochs() -> None:
    module: Any = photos()
    module.begun = (1, 5)
    assert len(trained(module, 1)) == 3
    assert len(given(module, module.repeat(1))) == 8


def test_processes_share_a_repeated_epoch() -> None:
    samples: list[int] = []
    for rank in range(2):
        module = photos()
        trainer: Any = SimpleNamespace(world_size=2, global_rank=rank)
        module.trainer = trainer
        samples += [number for (pixels,) in module.repeat(0) for number in pixels.ticket.samples]
    assert len(samples) == IMAGES + 1
    assert set(samples) == set(range(IMAGES))


def test_loader_processes_of_a_repeated_epoch_do_not_stay() -> None:
    assert photos(2).train_dataloader().persistent_workers
    assert not photos(2).repeat(0).persistent_workers
    assert not photos(0).train_dataloader().persistent_workers


@pytest.fixture
def handlers() -> Iterator[None]:
    """Puts the handlers of signals back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_loader_process_is_deaf_to_what_ends_a_run() -> None:
    reading.deaf(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        assert signal.getsignal(number) is signal.SIG_IGN
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_loader_process_costs_no_batch(number) -> None:
    expected = trained(photos(), 0)
    module = photos(1)
    lists: Any = iter(module.train_dataloader())
    first = next(lists)
    (worker,) = lists._workers
    os.kill(worker.pid, number)
    assert same(given(module, [first, *lists]), expected)
    assert worker.is_alive()


def test_a_process_without_loaders_hears_everything() -> None:
    assert photos(0).train_dataloader().worker_init_fn is None
    assert photos(1).train_dataloader().worker_init_fn is reading.deaf


def test_digits_are_read_again_from_memory() -> None:
    train = configured("data.size=8", "augment=shift_rotate", "data.batch_size=7")
    module = DataModule(data.load(train.data), train)
    batches = trained(module, 2)[:3]
    assert same([module.again(batch.ticket) for batch in batches], batches)
    assert isinstance(batches[0].ticket, Ticket)
