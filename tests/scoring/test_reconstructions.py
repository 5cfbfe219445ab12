from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cnnctl.config import compose, preflight
from cnnctl.config.schema import Train
from cnnctl.data.source import Source, Stored
from cnnctl.errors import CnnctlError
from cnnctl.scoring.reconstructions import (
    Asker,
    Reconstructions,
    compare,
    figures,
    measure,
    metrics,
    pixels,
)

MEAN, STD, SIDE = 0.25, 0.5, 6
Made = tuple[list[Reconstructions], Tensor]


@pytest.fixture(scope="module")
def train() -> Train:
    words = ["model=autoencoder", f"data.size={SIDE}", f"data.mean=[{MEAN}]", f"data.std=[{STD}]"]
    with compose.opened():
        config, problems = compose.compose("train", [*words, "data.batch_size=4", "data.workers=0"])
        read, more = preflight.check(config, problems)
    assert read is not None
    assert more == []
    return read


class Dims:
    """Gives what it sees, darker and, unless it is even, moved by a pixel; normalised."""

    classes = tuple("0123456789")

    def __init__(self, factor: float, move: int = 0) -> None:
        self.factor, self.move = factor, move

    def __call__(self, images: Tensor, /) -> Tensor:
        return (images.float() / 255 * self.factor - MEAN).roll(self.move, 3) / STD

    def loss(self, logits: Tensor, labels: Tensor, /) -> Tensor | None:  # noqa: ARG002
        return None


def source(images: int = 11) -> Source:
    made = torch.randint(0, 256, (images, 1, SIDE, SIDE), dtype=torch.uint8,
                         generator=torch.Generator().manual_seed(0))  # fmt: skip
    stored = Stored(made, np.zeros(images, np.int64))
    return Source(tuple("0123456789"), {"train": stored, "val": stored, "test": stored})


def told(*_: Any) -> None:
    """Nobody listens."""


def true(found: Source) -> Tensor:
    images = found.splits["test"]
    return torch.stack([images[i] for i in range(len(images.labels))]).double() / 255


def expected(made: Tensor, wanted: Tensor) -> dict[str, float]:
    error = (made - wanted).square()
    mse = error.mean().item()
    return {
        "explained": 1 - mse / wanted.var(correction=0).item(),
        "psnr": -10 * np.log10(mse),
        "mse": mse,
        "loss": mse / STD**2,
    }


def test_one_net_is_measured_in_intensities(train) -> None:
    data = source()
    (found,) = measure([Asker(Dims(0.8), train)], data, "test", 3, told)
    wanted = true(data)
    told_of = figures(found, 0)
    assert told_of["n"] == 11
    assert told_of["metrics"] == pytest.approx(expected(0.8 * wanted, wanted), rel=1e-5)
    assert list(told_of["metrics"]) == ["explained", "psnr", "mse", "loss"]
    for name, (low, high) in told_of["intervals"].items():
        assert low < told_of["metrics"][name] < high
    assert found.names == tuple(f"image {i}" for i in range(11))


def test_the_worst_images_come_first_with_what_was_made_of_them(train) -> None:
    data = source()
    (found,) = measure([Asker(Dims(0.5), train)], data, "test", 3, told)
    wanted = true(data)
    order = wanted.square().sum((1, 2, 3)).argsort(descending=True)[:3].tolist()
    assert [place for place, _, _ in found.worst] == order
    for place, shown, made in found.worst:
        np.testing.assert_array_equal(shown, data.splits["test"][place])
        near = np.abs(made.astype(int) - 255 * 0.5 * wanted[place].numpy())
        assert near.max() < 0.51  # of levels
    (none,) = measure([Asker(Dims(0.5), train)], data, "test", 0, told)
    assert none.worst == []


def test_of_equal_errors_the_first_images_are_kept(train) -> None:
    data = source(9)
    grey = Stored(torch.full((9, 1, SIDE, SIDE), 100, dtype=torch.uint8), np.zeros(9, np.int64))
    (found,) = measure(
        [Asker(Dims(0.5), train)], replace(data, splits={"test": grey}), "test", 4, told
    )
    assert [place for place, _, _ in found.worst] == [0, 1, 2, 3]


def test_a_net_with_its_mirror_image_is_the_mean_of_both(train) -> None:
    data = source()
    (found,) = measure([Asker(Dims(0.9, 1), train, flip=True)], data, "test", 0, told)
    wanted = true(data)
    moved = 0.9 * (wanted.roll(1, 3) + wanted.flip(3).roll(1, 3).flip(3)) / 2
    weights = np.ones(11)
    assert metrics(found.sums, found.losses, weights) == pytest.approx(
        expected(moved, wanted), rel=1e-5
    )


def test_several_nets_are_also_measured_by_the_mean_of_what_they_make(train) -> None:
    data = source()
    askers = [Asker(Dims(factor), train) for factor in (0.6, 1.2)]
    found = measure(askers, data, "test", 2, told)
    wanted = true(data)
    for one, factor in zip(found, (0.6, 1.2, 0.9), strict=True):
        now = metrics(one.sums, one.losses, np.ones(11))
        assert now == pytest.approx(expected(factor * wanted, wanted), rel=1e-5)
    assert found[2].seconds == pytest.approx(found[0].seconds + found[1].seconds)


def test_resampled_figures_are_those_of_the_images_that_were_drawn(train) -> None:
    data = source()
    (found,) = measure([Asker(Dims(0.7), train)], data, "test", 0, told)
    drawn = np.random.default_rng(0).integers(11, size=11)
    wanted = true(data)[torch.from_numpy(drawn)]
    counts = np.bincount(drawn, minlength=11).astype(np.float64)
    now = metrics(found.sums, found.losses, counts)
    assert now == pytest.approx(expected(0.7 * wanted, wanted), rel=1e-5)


def test_a_net_that_is_nearer_on_all_images_is_better(train) -> None:
    data = source()
    near, far, _ = measure([Asker(Dims(f), train) for f in (0.95, 0.7)], data, "test", 0, told)
    found, back, same = compare(far, near, 0), compare(near, far, 0), compare(near, near, 0)
    assert (found["better"], back["better"], same["better"]) == (1, 0, None)
    assert (found["first_closer"], found["second_closer"]) == (0, 11)
    assert (same["first_closer"], same["second_closer"]) == (0, 0)
    gain = figures(near, 0)["metrics"]["explained"] - figures(far, 0)["metrics"]["explained"]
    assert found["explained"]["difference"] == pytest.approx(gain)
    low, high = found["explained"]["interval"]
    assert 0 < low < gain < high
    assert same["explained"]["interval"] is None


def test_what_is_no_number_is_refused(train) -> None:
    with pytest.raises(CnnctlError, match=r"makes of 4 of 4 images is not finite"):
        measure([Asker(Dims(float("nan")), train)], source(), "test", 0, told)


def test_pixels_beyond_black_and_white_are_cut_off() -> None:
    assert pixels(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]
