from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl import data, runs
from cnnctl.config import paths
from cnnctl.config.images import Augment, Digits
from cnnctl.config.read import read
from cnnctl.data.module import DataModule, Share


def module(seed: int = 0, augment: str = "none", **changes: Any) -> DataModule:
    conf = paths.conf_dir()
    numbers = runs.read_config(conf / "data" / "digits.yaml") | {"size": 8, **changes}
    section, problems = read(Digits, numbers)
    chosen, more = read(Augment, runs.read_config(conf / "augment" / f"{augment}.yaml"))
    assert problems + more == []
    assert section is not None
    assert chosen is not None
    return DataModule(data.load(section), section, chosen, seed)


def labels(loader: Any) -> list[int]:
    return [label for _, batch in loader for label in batch.tolist()]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200), st.integers(1, 9))
def test_the_shares_cover_every_image_once(images, world) -> None:
    shares = [Share(images, world, rank) for rank in range(world)]
    assert sorted(index for share in shares for index in share) == list(range(images))
    assert [len(share) for share in shares] == [len(list(share)) for share in shares]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_holds_floats_and_whole_labels() -> None:
    images, found = next(iter(module(batch_size=5).train_dataloader()))
    assert (images.dtype, tuple(images.shape)) == (torch.float32, (5, 1, 8, 8))
    assert (found.dtype, tuple(found.shape)) == (torch.int64, (5,))


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_is_in_order_and_complete(split) -> None:
    loaders = module(batch_size=50)
    loader = loaders.val_dataloader() if split == "val" else loaders.test_dataloader()
    assert labels(loader) == list(loaders.source.splits[split].labels)
    assert labels(loaders.evaluation(split)) == labels(loader)


def test_training_sees_every_image_once_an_epoch_in_a_new_order() -> None:
    loaders = module()
    loader = loaders.train_dataloader()
    first, second = labels(loader), labels(loader)
    assert sorted(first) == sorted(second) == sorted(loaders.source.splits["train"].labels)
    assert first != second


def test_the_order_follows_the_seed_alone() -> None:
    first = labels(module(seed=1).train_dataloader())
    torch.manual_seed(99)
    assert labels(module(seed=1).train_dataloader()) == first
    assert labels(module(seed=2).train_dataloader()) != first


def test_loader_processes_give_the_same_batches() -> None:
    alone, helped = (module(workers=workers).train_dataloader() for workers in (0, 1))
    for (images, found), (others, wanted) in zip(alone, helped, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(found, wanted)


def test_evaluation_is_never_augmented() -> None:
    plain, shifted = module(), module(augment="shift")
    for split in ("train", "val", "test"):
        one, other = (next(iter(m.evaluation(split)))[0] for m in (plain, shifted))
        assert torch.equal(one, other)
    assert not torch.equal(
        next(iter(plain.train_dataloader()))[0], next(iter(shifted.train_dataloader()))[0]
    )


def test_several_processes_share_the_images() -> None:
    seen: dict[str, list[list[int]]] = {"train": [], "val": []}
    for rank in range(4):
        loaders = module()
        loaders.trainer = SimpleNamespace(world_size=4, global_rank=rank)
        seen["train"].append(list(loaders.train_dataloader().sampler))
        seen["val"].append(list(loaders.val_dataloader().sampler))
    assert sorted(sum(seen["val"], [])) == list(range(179))  # noqa: RUF017 - four short lists
    assert {len(share) for share in seen["train"]} == {315}
    assert set(sum(seen["train"], [])) == set(range(1259))  # noqa: RUF017 - as above
