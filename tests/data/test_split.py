from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.data.split import stratified
from cnnctl.errors import DataError

NAMES = "abcdefgh"
few = settings(max_examples=50, deadline=None)
counts = st.lists(st.integers(3, 40), min_size=1, max_size=5)
fractions = st.fixed_dictionaries(
    {"val": st.floats(0.01, 0.99)}, optional={"test": st.floats(0.01, 0.99)}
)
seeds = st.integers(0, 2**32 - 1)


def labelled(counts: list[int], order: int) -> list[int]:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    random.Random(order).shuffle(labels)  # noqa: S311 - no secret
    return labels


@few
@given(counts, fractions, seeds)
def test_the_parts_are_a_partition_in_order(counts, fractions, seed) -> None:
    labels = labelled(counts, seed)
    parts = stratified(labels, fractions, seed, NAMES)
    assert list(parts) == ["train", *fractions]
    assert sorted(index for part in parts.values() for index in part) == list(range(len(labels)))
    assert all(part == sorted(part) for part in parts.values())


@few
@given(counts, fractions, seeds)
def test_every_part_has_every_class(counts, fractions, seed) -> None:
    labels = labelled(counts, seed)
    for part in stratified(labels, fractions, seed, NAMES).values():
        assert {labels[index] for index in part} == set(labels)


@few
@given(st.lists(st.integers(10, 200), min_size=1, max_size=4), st.floats(0.1, 0.4), seeds)
def test_each_class_gives_its_share_to_the_nearest_image(counts, fraction, seed) -> None:
    labels = labelled(counts, seed)
    parts = stratified(labels, {"val": fraction, "test": fraction}, seed, NAMES)
    for name in ("val", "test"):
        for label, count in enumerate(counts):
            given = sum(labels[index] == label for index in parts[name])
            assert given == max(1, round(fraction * count))


@few
@given(counts, fractions, seeds)
def test_the_same_seed_gives_the_same_parts(counts, fractions, seed) -> None:
    labels = labelled(counts, seed)
    assert stratified(labels, fractions, seed, NAMES) == stratified(labels, fractions, seed, NAMES)


def test_another_seed_gives_other_parts() -> None:
    labels = [0, 1] * 50
    assert stratified(labels, {"val": 0.1}, 0, NAMES) != stratified(labels, {"val": 0.1}, 1, NAMES)


def test_the_parts_are_random_and_not_the_first_images() -> None:
    chosen = stratified([0] * 1000, {"val": 0.5}, 0, NAMES)["val"]
    assert sum(index < 500 for index in chosen) == pytest.approx(250, abs=40)


@pytest.mark.parametrize(
    ("labels", "fractions", "name", "has", "parts"),
    [
        ([0, 0, 1], {"val": 0.1}, "b", 1, "train, val"),
        ([4, 4, 4, 7, 7], {"val": 0.1, "test": 0.2}, "h", 2, "train, val, test"),
    ],
)
def test_too_few_images_of_a_class_are_refused(labels, fractions, name, has, parts) -> None:
    with pytest.raises(DataError) as caught:
        stratified(labels, fractions, 0, NAMES)
    text = f"class '{name}' has too few images for {parts}"
    assert str(caught.value) == f"{text} (it has {has}, at least {has + 1} are needed)"
