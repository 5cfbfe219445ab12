from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from images import configured

from cnnctl import data
from cnnctl.config.masks import IGNORE
from cnnctl.data import borders
from cnnctl.data.borders import Bordered, components, weights
from cnnctl.data.module import DataModule
from cnnctl.data.pairs import Held, Pairs
from cnnctl.data.source import Stored


def drawn(text: str) -> np.ndarray:
    """A mask of digits; x is ignored."""
    return np.array(
        [[IGNORE if one == "x" else int(one) for one in line] for line in text.split()], np.uint8
    )


def flooded(mask: np.ndarray) -> np.ndarray:
    """Components one pixel after the other, numbered in the order of their first pixels."""
    found, number = np.zeros(mask.shape, int), 0
    for start in zip(*np.nonzero((mask != 0) & (mask != IGNORE)), strict=True):
        if found[start]:
            continue
        number += 1
        waiting = [start]
        while waiting:
            y, x = waiting.pop()
            if found[y, x] or mask[y, x] != mask[start]:
                continue
            found[y, x] = number
            around = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
            waiting += [
                (a, b)
                for a, b in around
                if 0 <= a < mask.shape[0] and 0 <= b < mask.shape[1]
            ]  # fmt: skip
    return found


def brute(mask: np.ndarray, deviation: float) -> np.ndarray:
    """The equation, from the distances to all pixels of all components."""
    labels = flooded(mask)
    found = np.zeros(mask.shape)
    for place in zip(*np.nonzero(mask == 0), strict=True):
        apart = sorted(
            min(math.dist(place, other) for other in zip(*np.nonzero(labels == one), strict=True))
            for one in range(1, labels.max() + 1)
        )
        if len(apart) > 1:
            found[place] = math.exp(-((apart[0] + apart[1]) ** 2) / (2 * deviation**2))
    return np.rint(255 * found).astype(np.uint8)


def noisy(seed: int, size: tuple[int, int], classes: int, share: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    mask = random.integers(1, classes, size).astype(np.uint8)
    mask[random.random(size) > share] = 0
    mask[random.random(size) < 0.05] = IGNORE
    return mask


@pytest.mark.parametrize(
    ("mask", "wanted"),
    [
        ("110 011 000", "110 011 000"),
        ("101 010 101", "102 030 405"),
        ("121 111", "121 111"),
        ("1x1 1x1", "102 102"),
        ("11111 10001 10101 10001 11111", "11111 10001 10201 10001 11111"),
        ("10101 10101 11111", "10101 10101 11111"),
        ("00 00", "00 00"),
        ("11 11", "11 11"),
        ("xx", "00"),
        ("1", "1"),
    ],
)
def test_a_component_hangs_together_by_sides(mask: str, wanted: str) -> None:
    found, numbers = components(drawn(mask)), drawn(wanted)
    assert found.dtype == np.int32
    assert len(np.unique(found)) == len(np.unique(numbers))
    pairs = set(zip(found.ravel().tolist(), numbers.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(numbers))
    assert ((found == 0) == (numbers == 0)).all()


def spiral(size: int) -> np.ndarray:
    """One long component whose ends are many joins apart."""
    mask = np.zeros((size, size), np.uint8)
    y, x, step = 0, 0, (0, 1)
    for length in [size - 1, *(n for n in range(size - 1, 0, -2) for _ in (0, 1))]:
        for _ in range(length):
            mask[y, x] = 1
            y, x = y + step[0], x + step[1]
        step = (step[1], -step[0])
    return mask


@pytest.mark.parametrize("seed", range(6))
def test_components_are_those_of_a_flood(seed: int) -> None:
    mask = noisy(seed, (23, 31), 2 + seed % 3, 0.3 + 0.1 * seed)
    found, wanted = components(mask), flooded(mask)
    pairs = set(zip(found.ravel().tolist(), wanted.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(found)) == len(np.unique(wanted))


def test_a_spiral_is_one_component() -> None:
    mask = spiral(41)
    assert flooded(mask).max() == 1
    assert components(mask).max() == 1


@pytest.mark.parametrize("deviation", [0.2, 1, 2.5, 5])
@pytest.mark.parametrize(("share", "classes"), [(0.02, 3), (0.1, 2), (0.5, 4)])
def test_the_weights_are_those_of_the_equation(deviation, share, classes) -> None:
    mask = noisy(1, (24, 29), classes, share)
    found = weights(mask, deviation)
    assert (found == brute(mask, deviation)).all()
    assert found.any() or deviation < 1


def test_far_apart_neighbours_weigh_until_a_255th_rounds_to_nothing() -> None:
    """The middle of two components that are ever further apart."""
    for gap in range(1, 25):
        mask = np.zeros((1, gap + 2), np.uint8)
        mask[0, [0, -1]] = 1
        assert (weights(mask, 5) == brute(mask, 5)).all()
        wanted = round(255 * math.exp(-((gap + 1) ** 2) / 50))
        assert weights(mask, 5)[0, 1] == wanted
    assert not weights(mask, 5).any()


def test_one_component_is_nobodys_neighbour() -> None:
    assert not weights(drawn("11011 11011 11111"), 5).any()
    assert not weights(drawn("000 000"), 5).any()
    assert not weights(drawn("12 21"), 5).any()


def test_ignored_pixels_weigh_nothing_and_part_nothing() -> None:
    mask = drawn("10x02")
    apart = round(255 * math.exp(-(4**2) / (2 * 5**2)))
    assert weights(mask, 5).tolist() == [[0, apart, 0, apart, 0]]
    assert not weights(drawn("10xx0"), 5).any()


def held(count: int = 3) -> Held:
    pairs = []
    for seed in range(count):
        mask = torch.from_numpy(noisy(seed, (9, 8), 3, 0.3))[None]
        pairs.append((torch.full((1, 9, 8), seed, dtype=torch.uint8), mask))
    return Held(pairs, [f"{number}.png" for number in range(count)])


class Counted:
    """Masks that say how often they were read."""

    def __init__(self, masks: list[torch.Tensor]) -> None:
        self.masks = masks

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.masks[index]

    def name(self, index: int) -> str:
        return f"masks/{index}.png"

    def pick(self, indices: np.ndarray) -> Counted:
        return Counted([self.masks[one] for one in indices.tolist()])


def test_a_second_plane_is_added_to_the_masks() -> None:
    pairs = held()
    bordered = Bordered(pairs, 2)
    assert len(bordered.labels) == 3
    for number in range(3):
        image, mask = bordered.pair(number)
        assert torch.equal(image, pairs[number])
        assert (mask.shape, mask.dtype) == ((2, 9, 8), torch.uint8)
        assert torch.equal(mask[:1], pairs.pair(number)[1])
        assert (mask[1].numpy() == brute(mask[0].numpy(), 2)).all()
        assert bordered.name(number) == f"{number}.png"
        assert torch.equal(bordered[number], image)
    assert torch.equal(bordered.pick(np.array([2])).pair(0)[1], bordered.pair(2)[1])


def test_it_is_computed_once_of_pairs_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def counted(mask: np.ndarray, deviation: float) -> np.ndarray:
        asked.append(deviation)
        return weights(mask, deviation)

    monkeypatch.setattr(borders, "weights", counted)
    bordered = Bordered(held(), 4)
    first = bordered.pair(1)[1]
    assert torch.equal(bordered.pair(1)[1], first)
    assert asked == [4]
    pixels = torch.zeros(3, 1, 9, 8, dtype=torch.uint8)
    masks = Counted([pair[1][0] for pair in held().found])
    read = Bordered(Pairs(Stored(pixels, np.zeros(3, np.int64)), masks), 4)
    for _ in range(2):
        assert torch.equal(read.pair(1)[1], first)
    assert asked == [4, 4, 4]


def module(loss: str, *words: str) -> DataModule:
    chosen = [
        f"loss={loss}", "data=shapes", "model=unet_small", "data.images=10", "data.size=24",
        "data.batch_size=3", "augment=none", *words,
    ]  # fmt: skip
    train = configured(*chosen)
    source = data.load(train.data)
    return DataModule(replace(source, feeds={}), train)


def test_training_gets_the_plane_and_measuring_does_not() -> None:
    made = module("cross_entropy", "loss.border=[10,2]")
    masks = [pixels.labels for some in made.train_dataloader() for pixels in some]
    assert {mask.shape[1:] for mask in masks} == {(2, 24, 24)}
    several = torch.cat(masks)
    assert several[:, 1].any()
    for mask in several.numpy():
        assert (mask[1] == brute(mask[0], 2)).all()
    for split in ("train", "val", "test"):
        for some in made.evaluation(split):
            assert all(pixels.labels.shape[1] == 1 for pixels in some)


@pytest.mark.parametrize("loss", ["own", "cross_entropy", "dice", "focal"])
def test_nobody_computes_borders_that_no_loss_weighs(loss: str) -> None:
    (first, *_) = next(iter(module(loss).train_dataloader()))
    assert first.labels.shape[1] == 1
