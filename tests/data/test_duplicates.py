from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.data import duplicates
from cnnctl.data.duplicates import BITS, close, dhash, exact, near, told_apart

Words = st.lists(st.integers(0, 2**BITS - 1), max_size=40)


def bits(word: int) -> int:
    return int(word).bit_count()


def thumbs(count: int, seed: int = 0) -> np.ndarray:
    """Pictures that have nothing to do with each other, nor equal neighbours."""
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 9)).astype(np.uint8)


def groups(found: list[np.ndarray]) -> list[list[int]]:
    return [group.tolist() for group in found]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], []),
        ([5], []),
        ([1, 2, 3], []),
        ([7, 7], [[0, 1]]),
        ([3, 9, 3, 9, 9, 1], [[0, 2], [1, 3, 4]]),
        ([9, 3, 3, 9], [[0, 3], [1, 2]]),
        ([2**64 - 1, 0, 2**64 - 1], [[0, 2]]),
    ],
)
def test_equal_keys_are_groups_in_order(keys: list[int], expected: list[list[int]]) -> None:
    assert groups(exact(np.array(keys, np.uint64))) == expected


@given(st.lists(st.integers(0, 5), max_size=30))
def test_every_repeated_key_is_in_one_group(keys: list[int]) -> None:
    found = groups(exact(np.array(keys, np.uint64)))
    rows = [row for group in found for row in group]
    assert sorted(rows) == [row for row, key in enumerate(keys) if keys.count(key) > 1]
    assert all(len({keys[row] for row in group}) == 1 for group in found)


def test_a_bit_says_whether_the_next_pixel_is_brighter() -> None:
    picture = np.zeros((1, 8, 9), np.uint8)
    assert dhash(picture).tolist() == [0]
    picture[0, 0, 1] = 9  # brighter than its left neighbour, and the next one is darker
    assert dhash(picture).tolist() == [1 << 63]
    rising = np.broadcast_to(np.arange(9, dtype=np.uint8), (2, 8, 9))
    assert dhash(rising).tolist() == [2**64 - 1] * 2
    assert dhash(rising).dtype == np.uint64


@settings(deadline=None)
@given(Words, st.sampled_from([0, 1, 2, 4]))
def test_no_close_pair_is_missed(words: list[int], distance: int) -> None:
    words += [word ^ mask for word in words[:8] for mask in (0, 1, 0b1011, 0xF000F, 1 << 63)]
    expected = [
        [first, second]
        for second in range(len(words))
        for first in range(second)
        if bits(words[first] ^ words[second]) <= distance
    ]
    found = close(np.array(words, np.uint64), distance)
    assert sorted(found.tolist()) == sorted(expected)


@pytest.mark.parametrize(
    "flipped", [(0, 20, 40, 63), (0, 1, 2, 3), (9, 18, 27, 36), (63, 62, 1, 0)]
)
def test_the_bits_that_differ_can_be_anywhere(flipped: tuple[int, ...]) -> None:
    word = 0x0123456789ABCDEF
    other = word ^ sum(1 << bit for bit in flipped)
    hashes = np.array([word, other], np.uint64)
    assert close(hashes, 4).tolist() == [[0, 1]]
    assert close(hashes, 3).tolist() == []


def test_many_equal_hashes_are_compared_with_their_neighbours_only() -> None:
    count = 5 * duplicates.NEIGHBOURS
    found = close(np.zeros(count, np.uint64), 4)
    assert len(found) < count * duplicates.NEIGHBOURS
    assert np.unique(found).tolist() == list(range(count))
    labels = duplicates._components(count, found)
    assert labels.tolist() == [0] * count


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: picture * 0.8,
        lambda picture: picture * 0.7 + 40,
        lambda picture: picture + np.random.default_rng(1).normal(0, 0.5, picture.shape),
    ],
    ids=["equal", "darker", "less contrast", "noise"],
)
def test_a_changed_copy_looks_equal(change) -> None:
    pictures = thumbs(40).astype(float)
    pictures[7] = change(pictures[3])
    found = near(pictures.round().clip(0, 255).astype(np.uint8))
    assert found.told
    assert groups(found.groups) == [[3, 7]]


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture[:, ::-1],
        lambda picture: picture[::-1],
        lambda picture: 255 - picture,
    ],
    ids=["mirrored", "upside down", "negative"],
)
def test_another_picture_does_not(change) -> None:
    pictures = thumbs(40)
    pictures[7] = change(pictures[3])
    assert near(pictures).groups == []


def test_what_looks_equal_to_a_third_is_one_group() -> None:
    pictures = thumbs(10)
    pictures[[4, 9]] = pictures[2]
    pictures[8] = pictures[1]
    assert groups(near(pictures).groups) == [[1, 8], [2, 4, 9]]


def test_flat_pictures_have_nothing_to_compare() -> None:
    pictures = np.full((6, 8, 9), 128, np.uint8)
    pictures[1, 3, 3] = 131
    assert near(pictures) == ([], True)
    assert near(pictures[:0]) == ([], True)


def test_strokes_that_fill_the_space_around_each_other_are_not_told() -> None:
    base, generator = thumbs(1, seed=3) / 2 + 60, np.random.default_rng(0)
    strength = generator.uniform(4, 9, (300, 1, 1))
    pictures = base + generator.normal(0, 1, (300, 8, 9)) * strength
    assert near(pictures.round().clip(0, 255).astype(np.uint8)) == ([], False)


@pytest.mark.parametrize(
    ("apart", "limit"),
    [
        ([], 0.03),
        ([0.02] * 5, 0.03),  # a few say nothing
        ([0.001] * 50 + [0.02] * 50, 0.03),  # copies
        ([0.001] * 50 + [0.012] * 40 + [0.02] * 300, 0.015),  # copies, and others further away
        ([0.02] * 300, 0.015),  # nothing is as near as that
        ([0.001] * 20 + [0.006] * 100 + [0.012] * 400 + [0.02] * 4000, 0.0),
    ],
)
def test_the_limit_depends_on_how_pairs_are_spread(apart: list[float], limit: float) -> None:
    assert told_apart(np.array(apart)) == limit


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=25))
def test_components_are_what_pairs_lead_to(pairs: list[tuple[int, int]]) -> None:
    parents = list(range(15))
    for _ in parents:
        for first, second in pairs:
            parents[first] = parents[second] = min(parents[first], parents[second])
    labels = duplicates._components(15, np.array(pairs, np.int64).reshape(-1, 2))
    assert labels.tolist() == parents


def test_a_long_chain_is_one_component() -> None:
    order = np.random.default_rng(0).permutation(1000)
    labels = duplicates._components(1000, np.stack([order[:-1], order[1:]], 1))
    assert not labels.any()
