from __future__ import annotations

import dataclasses
from collections import Counter
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import Digits
from cnnctl.config.read import read
from cnnctl.data import digits
from cnnctl.data.source import Source

COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def section(**changes: Any) -> Digits:
    numbers = runs.read_config(paths.conf_dir() / "data" / "digits.yaml")
    found, problems = read(Digits, numbers | changes, "data")
    assert problems == []
    assert found is not None
    return found


def images(source: Source, split: str) -> torch.Tensor:
    part = source.splits[split]
    return torch.stack([part[index] for index in range(len(part.labels))])


@pytest.fixture(scope="module")
def source() -> Source:
    return digits.load(section())


def test_the_shipped_file_is_small_and_holds_bytes() -> None:
    file = files("cnnctl.data") / "digits.npz"
    content = file.read_bytes()
    assert len(content) < 70_000
    with file.open("rb") as opened, np.load(opened) as arrays:
        assert {name: (a.shape, a.dtype) for name, a in arrays.items()} == {
            "images": ((1797, 8, 8), np.uint8), "labels": ((1797,), np.uint8),
        }  # fmt: skip
        assert np.bincount(arrays["labels"]).tolist() == COUNTS
        assert (arrays["images"].min(), arrays["images"].max()) == (0, digits.LEVELS)


def test_the_splits_hold_every_digit_once(source: Source) -> None:
    assert source.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert source.sizes == {"train": 1259, "val": 179, "test": 359}
    found = Counter(label for part in source.splits.values() for label in part.labels)
    assert [found[label] for label in range(10)] == COUNTS


def test_no_image_is_in_two_splits() -> None:
    source = digits.load(section(size=8))
    found = torch.cat([images(source, name) for name in source.splits]).flatten(1)
    with (files("cnnctl.data") / "digits.npz").open("rb") as file, np.load(file) as arrays:
        raw = np.rint(arrays["images"].astype(np.float32) * (255 / 16)).astype(np.uint8)
    assert sorted(map(bytes, found.numpy())) == sorted(map(bytes, raw.reshape(1797, 64)))


def test_the_splits_are_stratified(source: Source) -> None:
    for name, share in (("val", 0.1), ("test", 0.2)):
        found = Counter(source.splits[name].labels)
        assert [found[label] for label in range(10)] == [round(share * n) for n in COUNTS]


def test_images_are_bytes_of_the_wanted_size_and_channels() -> None:
    data = section(size=20, channels=3, mean=[0, 0, 0], std=[1, 1, 1])
    train = digits.load(data).splits["train"]
    image = train[0]
    assert (image.dtype, tuple(image.shape), train.labels[0]) == (torch.uint8, (3, 20, 20), 0)
    assert torch.equal(image[0], image[2])


def test_enlarging_keeps_the_whole_range_of_grey(source: Source) -> None:
    train = images(source, "train")
    assert (int(train.min()), int(train.max())) == (0, 255)


def test_mean_and_std_of_the_configuration_are_those_of_the_train_split(source: Source) -> None:
    train = images(source, "train").double() / 255
    data = section()
    assert (round(train.mean().item(), 4), round(train.std().item(), 4)) == (
        data.mean[0], data.std[0],
    )  # fmt: skip


def test_split_seed_fixes_the_splits(source: Source) -> None:
    again = digits.load(section())
    other = digits.load(dataclasses.replace(section(), split_seed=1))
    assert torch.equal(images(again, "test"), images(source, "test"))
    assert other.sizes == source.sizes
    assert not torch.equal(images(other, "test"), images(source, "test"))


def test_the_splits_are_the_same_on_every_machine(source: Source) -> None:
    assert source.splits["val"].labels[:12].tolist() == [4, 7, 9, 3, 4, 0, 7, 2, 1, 7, 2, 7]


def test_val_and_test_are_drawn(source: Source) -> None:
    assert source.drawn == ("val", "test")


def test_folds_are_val_in_turn_and_leave_the_test_split_as_it_is(source: Source) -> None:
    turns = [digits.load(section(folds=3, fold=fold)) for fold in range(3)]
    assert [turn.sizes["val"] for turn in turns] == [480, 479, 479]
    for turn in turns:
        assert turn.drawn == ("val", "test")
        assert sum(turn.sizes.values()) == 1797
        assert torch.equal(images(turn, "test"), images(source, "test"))
