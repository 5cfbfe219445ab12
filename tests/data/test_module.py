from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from images import colour, configured, encoded, mixed, picture, source
from torch import Tensor

from cnnctl import data
from cnnctl.data.module import ALONE, DataModule
from cnnctl.data.order import Order
from cnnctl.data.source import Encoded, Feed, Source

AUGMENTS = ("shift_rotate", "flip_crop", "resized_crop")


def digits(*more: str, **options: Any) -> DataModule:
    train = configured("data.size=8", "augment=none", *more)
    return DataModule(data.load(train.data), train, **options)


def photos(workers: int, *more: str, **options: Any) -> DataModule:
    """Forty images of many sizes that are decoded each time, by so many processes."""
    train = colour("data.batch_size=4", *more)
    found = source(encoded(mixed(40)), train=29)
    feeds = {split: Feed(kind="decode", workers=workers) for split in found.splits}
    return DataModule(Source(found.classes, found.splits, feeds=feeds), train, **options)


def epoch(module: DataModule, number: int, loader: Any, chunk: int = 1) -> list[list[Any]]:
    """What the net is given in an epoch, list by list."""
    loader.batch_sampler.set_epoch(number)  # as Lightning does
    loader.batch_sampler.chunk = chunk
    return [module.on_after_batch_transfer(batches, 0) for batches in loader]


def batches(module: DataModule, number: int = 0, chunk: int = 1) -> list[tuple[Tensor, Tensor]]:
    return flat(epoch(module, number, module.train_dataloader(), chunk))


def flat(lists: list[list[Any]]) -> list[tuple[Tensor, Tensor]]:
    return [batch[:2] for several in lists for batch in several]


def measured(module: DataModule, split: str) -> list[tuple[Tensor, Tensor]]:
    loader = module.evaluation(split)
    lists = [module.on_after_batch_transfer(batches, 0) for batches in loader]
    assert {len(one) for one in lists} == {1}
    return flat(lists)


def same(first: list[tuple[Tensor, Tensor]], second: list[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


def test_a_batch_holds_floats_and_whole_labels() -> None:
    images, found = batches(digits("data.batch_size=5"))[0]
    assert (images.dtype, tuple(images.shape)) == (torch.float32, (5, 1, 8, 8))
    assert (found.dtype, tuple(found.shape)) == (torch.int64, (5,))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_evaluation_is_in_order_and_complete(split) -> None:
    module = digits("data.batch_size=50", measured=split)
    found = measured(module, split)
    expected = list(module.source.splits[split].labels)
    assert [label for _, labels in found for label in labels.tolist()] == expected
    assert [len(labels) for _, labels in found[:-1]] == [50] * (len(found) - 1)
    tested = [module.on_after_batch_transfer(one, 0) for one in module.test_dataloader()]
    assert same(flat(tested), found)


def test_training_follows_the_order_and_the_pixels_are_those_of_the_source() -> None:
    module = digits()
    images, labels = (torch.cat(part) for part in zip(*batches(module, 3), strict=True))
    order = Order(1259, 0).of(3)
    stored = module.source.splits["train"]
    assert np.array_equal(labels, stored.labels[order])
    expected = (stored.batch(order).float() / 255 - 0.3057) / 0.3241
    torch.testing.assert_close(images, expected)


def test_the_order_follows_the_seed_and_the_epoch_alone() -> None:
    first = batches(digits("seed=1"), 2)
    torch.manual_seed(99)
    assert same(batches(digits("seed=1"), 2), first)
    for other in (batches(digits("seed=2"), 2), batches(digits("seed=1"), 3)):
        assert not same(other, first)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_batches_depend_neither_on_loader_processes_nor_on_chunks(augment) -> None:
    alone = photos(0, f"augment={augment}")
    expected = [batches(alone, number) for number in (0, 1)]
    assert not same(*expected)
    for workers, chunk in ((1, 3), (2, 1), (2, 32)):
        module = photos(workers, f"augment={augment}", chunked=True)
        loader = module.train_dataloader()
        for number, wanted in enumerate(expected):  # the processes live on to the second epoch
            lists = epoch(module, number, loader, chunk)
            assert same(flat(lists), wanted)


def test_the_first_two_batches_of_training_come_alone() -> None:
    module = photos(0, chunked=True)
    loader = module.train_dataloader()
    lengths = [[len(several) for several in epoch(module, number, loader, 3)] for number in (0, 1)]
    assert lengths == [[1] * ALONE + [3, 3], [3, 3, 2]]
    assert batches(photos(0), 0)
    for one in (loader, photos(0).train_dataloader()):
        with pytest.raises(TypeError):  # or Lightning would not ask which list is the last
            len(one)


def test_the_chunk_may_be_changed_while_training() -> None:
    module = photos(0, chunked=True)
    lengths = []
    for several in module.train_dataloader():
        lengths.append(len(several))
        module.chunk(len(lengths))
    assert lengths == [1, 1, 2, 3, 1]


@pytest.mark.parametrize("augment", AUGMENTS)
def test_evaluation_is_never_augmented(augment) -> None:
    plain, changed = (photos(0, f"augment={name}") for name in ("none", augment))
    for split in ("train", "val"):
        assert same(measured(plain, split), measured(changed, split))
    assert not same(batches(plain), batches(changed))


@pytest.mark.parametrize("augment", ["none", "resized_crop"])
def test_channels_last_is_a_layout_and_changes_no_value(augment) -> None:
    turned, plain = (
        photos(0, f"augment={augment}", f"trainer.channels_last={on}") for on in ("true", "false")
    )
    for first, second in ((batches(turned), batches(plain)), (measured(turned, "val"), None)):
        second = second or measured(plain, "val")  # noqa: PLW2901 - the other of the pair
        assert same(first, second)
        for (one, _), (other, _) in zip(first, second, strict=True):
            assert one.is_contiguous(memory_format=torch.channels_last)
            assert other.is_contiguous()


def test_several_processes_share_the_images() -> None:
    seen: dict[str, list[list[int]]] = {"train": [], "val": []}
    for rank in range(4):
        module = digits()
        module.trainer = SimpleNamespace(world_size=4, global_rank=rank)
        for split, loader in (
            ("train", module.train_dataloader()),
            ("val", module.val_dataloader()),
        ):
            lists = [pixels.ticket.samples.tolist() for (pixels,) in loader]
            seen[split].append([sample for samples in lists for sample in samples])
    assert sorted(sum(seen["val"], [])) == list(range(179))  # noqa: RUF017 - four short lists
    assert {len(share) for share in seen["train"]} == {315}
    assert set(sum(seen["train"], [])) == set(range(1259))  # noqa: RUF017 - as above


def test_rare_classes_are_drawn_as_often_as_others() -> None:
    images = Encoded(encoded([picture(0, 8, 8)] * 40).blobs, np.repeat([0, 1], [36, 4]), 3)
    train = colour("data.balance=sample", "data.batch_size=40", size=8)
    module = DataModule(Source(("many", "few"), {"train": images}), train)
    found = [labels for number in range(60) for _, labels in batches(module, number)]
    assert torch.cat(found).float().mean() == pytest.approx(0.5, abs=0.04)
    assert all(len(labels) == 40 for labels in found)


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("64-true", torch.float64), ("bf16-true", torch.bfloat16), ("32-true", torch.float32)],
)
def test_the_net_gets_the_numbers_that_it_reckons_with(precision, kind) -> None:
    import pytorch_lightning as pl

    module = digits()
    bare = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    module.trainer = pl.Trainer(accelerator="cpu", devices=1, precision=precision, **bare)
    images, labels = batches(module)[0]
    assert (images.dtype, labels.dtype) == (kind, torch.int64)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_goes_on_where_a_checkpoint_says(workers) -> None:
    fresh = photos(0, "augment=flip_crop")
    expected = [batches(fresh, number) for number in (1, 2)]
    module = photos(workers, "augment=flip_crop", chunked=True)
    module.begun = (1, 5)
    loader = module.train_dataloader()
    assert same(flat(epoch(module, 1, loader, 2)), expected[0][5:])
    assert same(flat(epoch(module, 2, loader, 2)), expected[1])
    assert len(measured(module, "val")) == 3  # what is measured knows nothing of it


def test_a_complete_epoch_goes_on_with_an_empty_list() -> None:
    module = photos(0, "trainer.accumulate=3")  # 8 batches in 3 steps
    module.begun = (0, 3)
    assert epoch(module, 0, module.train_dataloader()) == [[]]
    module.begun = (0, 2)
    tickets = [batch.ticket for (batch,) in epoch(module, 0, module.train_dataloader())]
    assert [(ticket.number, ticket.last) for ticket in tickets] == [(6, False), (7, True)]
    assert {ticket.images for ticket in tickets} == {5}
