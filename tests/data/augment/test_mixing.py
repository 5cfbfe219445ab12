from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from cnnctl.data.augment.mixing import CutMix, Either, MixUp, soft
from cnnctl.data.draws import Draws


def draws(number: int = 0, count: int = 6) -> Draws:
    return Draws(0, number, np.arange(count))


def batch(count: int = 6, channels: int = 3, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    images = torch.randn(count, channels, size, size, generator=generator)
    return images, torch.randint(0, 5, (count,), generator=generator)


def torchvisions(kind: Any, params: dict[str, Any], images: torch.Tensor, labels: torch.Tensor):
    """torchvision's own class, told what to draw."""
    theirs = kind(num_classes=5)
    theirs.make_params = lambda _: params
    return theirs(images, labels)


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_is_torchvisions_with_the_same_share(alpha, count) -> None:
    images, labels = batch(count)
    way = MixUp(alpha, 5)
    for number in range(10):
        mixed, shares = way(images, labels, draws(number, count))
        params = {"lam": way.parameters(draws(number, count))}
        expected, expected_shares = torchvisions(v2.MixUp, params, images, labels)
        assert torch.equal(mixed, expected)
        assert torch.equal(shares, expected_shares)


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 33)])
def test_cutmix_is_torchvisions_with_the_same_rectangle(channels, size, count) -> None:
    images, labels = batch(count, channels, size)
    way = CutMix(1, 5)
    for number in range(10):
        mixed, shares = way(images, labels, draws(number, count))
        left, top, right, bottom = way.parameters(draws(number, count), size, size)
        own = float(1.0 - (right - left) * (bottom - top) / (size * size))
        params = {"box": (left, top, right, bottom), "lam_adjusted": own}
        expected, expected_shares = torchvisions(v2.CutMix, params, images, labels)
        assert torch.equal(mixed, expected)
        assert torch.equal(shares, expected_shares)


@pytest.mark.parametrize("alpha", [0.2, 1, 4])
def test_the_share_is_beta_distributed(alpha) -> None:
    found = np.array([MixUp(alpha, 2).parameters(draws(number)) for number in range(3000)])
    assert found.mean() == pytest.approx(0.5, abs=0.04)
    assert found.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


def test_rectangles_are_spread_as_torchvisions() -> None:
    ours = np.array([CutMix(1, 2).parameters(draws(number), 32, 24) for number in range(3000)])
    torch.manual_seed(0)
    theirs = v2.CutMix(num_classes=2)
    image = [torch.zeros(1, 3, 32, 24)]
    boxes = np.array([theirs.make_params(image)["box"] for _ in range(3000)])
    np.testing.assert_allclose(ours.mean(0), boxes.mean(0), atol=0.8)
    np.testing.assert_allclose(ours.std(0), boxes.std(0), atol=0.6)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 5))
def test_a_rectangle_lies_in_the_image(number, height, width, alpha) -> None:
    left, top, right, bottom = CutMix(alpha, 2).parameters(draws(number), height, width)
    assert 0 <= left <= right <= width
    assert 0 <= top <= bottom <= height


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.floats(0, 1))
def test_soft_labels_are_shares_of_one(labels, share) -> None:
    rows = soft(torch.tensor(labels), share, 5)
    assert (rows.dtype, tuple(rows.shape)) == (torch.float32, (len(labels), 5))
    torch.testing.assert_close(rows.sum(1), torch.ones(len(labels)))
    for place, row in enumerate(rows):
        own, other = labels[place], labels[place - 1]
        assert row[own].item() == pytest.approx(1 if own == other else share, abs=1e-6)


def test_one_of_both_ways_is_drawn_for_each_batch() -> None:
    images, labels = batch()
    ways = [MixUp(1, 5), CutMix(1, 5)]
    mixed_up = 0
    for number in range(400):
        found = Either(ways)(images, labels, draws(number))[0]
        first, second = (way(images, labels, draws(number))[0] for way in ways)
        assert torch.equal(found, first) or torch.equal(found, second)
        mixed_up += torch.equal(found, first)
    assert 150 < mixed_up < 250  # 200, deviation 10


def test_the_only_way_is_taken_always() -> None:
    images, labels = batch()
    for number in range(9):
        found, _ = Either([MixUp(1, 5)])(images, labels, draws(number))
        assert torch.equal(found, MixUp(1, 5)(images, labels, draws(number))[0])


@pytest.mark.parametrize("way", [MixUp(1, 5), CutMix(1, 5)])
def test_mixing_leaves_its_input_alone_and_follows_the_batch(way) -> None:
    images, labels = batch()
    before = images.clone(), labels.clone()
    first, rows = way(images, labels, draws(3))
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    again, same_rows = way(images, labels, draws(3))
    assert torch.equal(first, again)
    assert torch.equal(rows, same_rows)
    assert not torch.equal(first, way(images, labels, draws(4))[0])


@pytest.mark.parametrize("way", [MixUp(1, 5), CutMix(1, 5)])
def test_channels_last_is_kept(way) -> None:
    images, labels = batch()
    last = images.contiguous(memory_format=torch.channels_last)
    mixed, _ = way(last, labels, draws())
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mixed, way(images, labels, draws())[0])
