from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import DATA, Data
from cnnctl.config.read import read
from cnnctl.data.split import divide, folded, stratified
from cnnctl.errors import DataError

NAMES = "abcdefgh"
few = settings(max_examples=50, deadline=None)
counts = st.lists(st.integers(3, 40), min_size=1, max_size=5)
fractions = st.fixed_dictionaries(
    {"val": st.floats(0.01, 0.99)}, optional={"test": st.floats(0.01, 0.99)}
)
seeds = st.integers(0, 2**32 - 1)


def labelled(counts: list[int], order: int) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(order).permutation(labels)


def section(name: str = "folder", **changes: Any) -> Data:
    numbers = runs.read_config(paths.conf_dir() / "data" / f"{name}.yaml")
    numbers |= {"size": 32, "root": "x"} if name == "folder" else {}
    found, problems = read(DATA[name], numbers | changes, "data")
    assert problems == []
    assert found is not None
    return found


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    pairs = zip(first.items(), second.items(), strict=True)
    return all(a == b and x.tolist() == y.tolist() for (a, x), (b, y) in pairs)


@few
@given(counts, fractions, seeds)
def test_the_parts_are_a_partition_in_order(counts, fractions, seed) -> None:
    labels = labelled(counts, seed)
    parts = stratified(labels, fractions, seed, NAMES)
    assert list(parts) == ["train", *fractions]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(labels)))
    assert all(part.tolist() == sorted(part) for part in parts.values())
    assert all(part.dtype == np.int64 for part in parts.values())


@few
@given(counts, fractions, seeds)
def test_every_part_has_every_class(counts, fractions, seed) -> None:
    labels = labelled(counts, seed)
    for part in stratified(labels, fractions, seed, NAMES).values():
        assert set(labels[part]) == set(labels)


@few
@given(st.lists(st.integers(10, 200), min_size=1, max_size=4), st.floats(0.1, 0.4), seeds)
def test_each_class_gives_its_share_to_the_nearest_image(counts, fraction, seed) -> None:
    labels = labelled(counts, seed)
    parts = stratified(labels, {"val": fraction, "test": fraction}, seed, NAMES)
    for name in ("val", "test"):
        for label, count in enumerate(counts):
            given = np.count_nonzero(labels[parts[name]] == label)
            assert given == max(1, round(fraction * count))


@few
@given(counts, fractions, seeds)
def test_the_same_seed_gives_the_same_parts(counts, fractions, seed) -> None:
    labels = labelled(counts, seed)
    first, second = (stratified(labels, fractions, seed, NAMES) for _ in range(2))
    assert same(first, second)


def test_another_seed_gives_other_parts() -> None:
    labels = np.array([0, 1] * 50)
    first, second = (stratified(labels, {"val": 0.1}, seed, NAMES) for seed in (0, 1))
    assert not same(first, second)


def test_the_parts_are_random_and_not_the_first_images() -> None:
    chosen = stratified(np.zeros(1000, np.int64), {"val": 0.5}, 0, NAMES)["val"]
    assert np.count_nonzero(chosen < 500) == pytest.approx(250, abs=40)


@pytest.mark.parametrize(
    ("labels", "fractions", "name", "has", "parts"),
    [
        ([0, 0, 1], {"val": 0.1}, "b", 1, "train, val"),
        ([4, 4, 4, 7, 7], {"val": 0.1, "test": 0.2}, "h", 2, "train, val, test"),
    ],
)
def test_too_few_images_of_a_class_are_refused(labels, fractions, name, has, parts) -> None:
    with pytest.raises(DataError) as caught:
        stratified(np.array(labels), fractions, 0, NAMES)
    text = f"class '{name}' has too few images for {parts}"
    assert str(caught.value) == f"{text} (it has {has}, at least {has + 1} are needed)"


@few
@given(st.lists(st.integers(5, 40), min_size=1, max_size=6), st.integers(2, 5), seeds)
def test_folds_are_a_partition_into_parts_of_one_size(counts, folds, seed) -> None:
    labels = labelled(counts, seed)
    parts = folded(labels, folds, seed, NAMES)
    assert len(parts) == folds
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert all(part.tolist() == sorted(part) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for label in range(len(counts)):
        shares = [np.count_nonzero(labels[part] == label) for part in parts]
        assert max(shares) - min(shares) <= 1
        assert min(shares) >= 1


def test_folds_follow_the_seed_and_are_random() -> None:
    labels = np.array([0, 1] * 50)
    first, again, other = (folded(labels, 4, seed, NAMES) for seed in (0, 0, 1))
    assert [part.tolist() for part in first] == [part.tolist() for part in again]
    assert first[0].tolist() != other[0].tolist()
    assert first[0].tolist() != list(range(0, 100, 4))


def test_a_class_with_fewer_images_than_folds_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        folded(np.array([0] * 9 + [1] * 4), 5, 0, NAMES)
    text = "class 'b' has too few images for 5 folds (it has 4, at least 5 are needed)"
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("changes", "found", "sizes"),
    [
        ({}, (), {"train": 90, "val": 10}),
        ({}, ("test",), {"train": 90, "val": 10}),
        ({}, ("val",), {"train": 100}),
        ({}, ("val", "test"), {"train": 100}),
        ({"test_fraction": 0.2}, (), {"train": 70, "val": 10, "test": 20}),
        ({"test_fraction": 0.2}, ("val",), {"train": 80, "test": 20}),
        ({"folds": 5, "fold": 1}, (), {"train": 80, "val": 20}),
        ({"folds": 5, "fold": 1}, ("test",), {"train": 80, "val": 20}),
        ({"folds": 4, "fold": 0, "test_fraction": 0.2}, (), {"train": 60, "val": 20, "test": 20}),
    ],
)
def test_what_is_missing_is_cut_off_train(changes, found, sizes) -> None:
    parts = divide(labelled([50, 50], 0), section(**changes), NAMES, found)
    assert {name: len(part) for name, part in parts.items()} == sizes
    assert sorted(np.concatenate(list(parts.values()))) == list(range(100))


def test_the_folds_are_val_in_turn_and_the_test_split_stays() -> None:
    labels = labelled([40, 60], 3)
    plain = divide(labels, section("digits"), NAMES)
    turns = [divide(labels, section("digits", folds=4, fold=fold), NAMES) for fold in range(4)]
    assert all(turn["test"].tolist() == plain["test"].tolist() for turn in turns)
    every = np.concatenate([turn["val"] for turn in turns])
    assert sorted(every) == sorted([*plain["train"], *plain["val"]])
    for turn in turns:
        assert set(labels[turn["val"]]) == {0, 1}
        assert not set(turn["val"]) & set(turn["train"])


def test_a_share_for_a_test_split_that_is_there_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        divide(labelled([9, 9], 0), section(test_fraction=0.2), NAMES, ("val", "test"))
    text = "data.test_fraction has no effect: the data has a test split (data.test_fraction=null)"
    assert str(caught.value) == text
