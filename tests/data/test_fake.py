from __future__ import annotations

from typing import Any

import formats
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.data import fake
from cnnctl.data.source import Source, Stored
from cnnctl.errors import DataError


def load(**changes: Any) -> Source:
    return fake.load(formats.section("fake", **{"images": 200, "size": 8} | changes))


def pixels(source: Source, split: str) -> torch.Tensor:
    images = source.splits[split]
    assert isinstance(images, Stored)
    return images.pixels


def test_images_are_noise_of_the_wanted_number_and_size() -> None:
    source = load(images=300, classes=3, size=20)
    assert source.classes == ("0", "1", "2")
    assert source.sizes == {"train": 240, "val": 30, "test": 30}
    assert (pixels(source, "train").dtype, pixels(source, "val").shape) == (
        torch.uint8, (30, 3, 20, 20),
    )  # fmt: skip
    assert source.splits["test"].labels.dtype == np.int64
    assert source.drawn == ("val", "test")


def test_who_was_drawn_is_told_by_number() -> None:
    source = load(images=40)
    drawn = source.cut()
    assert list(drawn) == ["val", "test"]
    assert not set(drawn["val"]) & set(drawn["test"])
    assert drawn["val"] != [f"image {number}" for number in range(len(drawn["val"]))]


def test_grey_images(tmp_path) -> None:
    source = load(channels=1, mean=[0.5], std=[0.3])
    assert pixels(source, "train").shape == (160, 1, 8, 8)


def test_mean_and_std_are_those_of_the_configuration() -> None:
    section = formats.section("fake")
    found = pixels(load(images=1000, size=64), "train").double() / 255
    assert found.mean((0, 2, 3)).tolist() == pytest.approx(section.mean, abs=0.01)
    assert found.std((0, 2, 3)).tolist() == pytest.approx(section.std, abs=0.01)


def test_split_seed_fixes_pixels_and_labels() -> None:
    first, again, other = load(split_seed=1), load(split_seed=1), load(split_seed=2)
    for name in first.splits:
        assert torch.equal(pixels(first, name), pixels(again, name))
        assert np.array_equal(first.splits[name].labels, again.splits[name].labels)
        assert not torch.equal(pixels(first, name), pixels(other, name))


def test_no_two_images_are_the_same() -> None:
    found = torch.cat([pixels(load(), name) for name in ("train", "val", "test")])
    assert len({image.numpy().tobytes() for image in found}) == 200


def test_a_million_images_cost_little_memory() -> None:
    source = load(images=1_000_000, classes=10, size=224)
    for name in source.splits:
        assert pixels(source, name).untyped_storage().nbytes() == 1_000_000 + 3 * 224 * 224
    assert source.sizes["train"] == 800_000
    batch = source.splits["train"].pick(np.array([0, 799_999]))
    assert batch[1].shape == (3, 224, 224)


@settings(max_examples=25, deadline=None)
@given(
    classes=st.integers(2, 12),
    each=st.integers(3, 12),
    val=st.floats(0.01, 0.45),
    test=st.floats(0.01, 0.45),
)
def test_every_split_has_every_class(classes, each, val, test) -> None:
    images = classes * each
    source = load(images=images, classes=classes, val_fraction=val, test_fraction=test, size=2)
    assert sum(source.sizes.values()) == images
    for name, part in source.splits.items():
        assert set(part.labels) == set(range(classes))
        assert len(part.labels) == len(pixels(source, name))


def test_folds_leave_the_test_alone() -> None:
    folds = [load(folds=4, fold=fold) for fold in range(4)]
    assert {source.sizes["test"] for source in folds} == {20}
    assert all(torch.equal(pixels(s, "test"), pixels(folds[0], "test")) for s in folds)
    assert [source.sizes["val"] for source in folds] == [45] * 4


def test_too_few_images_for_the_classes_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        load(images=25, classes=10)
    text = "class '5' has too few images for train, val, test (it has 2, at least 3 are needed)"
    assert str(caught.value) == text


def test_a_net_trains_on_noise(cnnctl) -> None:
    size = ["model=mlp", "data=fake", "data.images=60", "data.size=8", "data.classes=2"]
    ends = ["trainer.max_epochs=1", "hardware=cpu", "schedule=constant", "schedule.warmup=0steps"]
    done = cnnctl("train", *size, *ends, "--json")
    assert done.code == 0, done.err
    assert 0 <= done.document["result"]["test"]["top1"] <= 1
