from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import Augment
from cnnctl.config.read import read
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Prepare
from cnnctl.data.reading import Pixels

NONE = runs.read_config(paths.conf_dir() / "augment" / "none.yaml")
MEAN, STD = (0.5, 0.25, 0.1), (0.5, 0.25, 2.0)
CHANGES: list[dict[str, Any]] = [
    {"shift": 4, "flip": 0.5},
    {"rotate": 30},
    {"elastic": [30, 2]},
    {"policy": "trivial"},
    {"policy": "randaugment", "ops": 3, "magnitude": 20},
    {"policy": "autoaugment_imagenet"},
    {"policy": "autoaugment_cifar10"},
    {"policy": "autoaugment_svhn"},
    {"policy": "augmix"},
    {"colour": 0.1},
    {"erase": 0.7},
    {"shift": 2, "flip": 0.5, "rotate": 5, "elastic": [9, 2], "policy": "trivial",
     "colour": 0.1, "erase": 0.5},
]  # fmt: skip
MIXES: list[dict[str, Any]] = [{"mixup": 1}, {"cutmix": 1}, {"mixup": 1, "cutmix": 1}]


def prepare(
    *, channels: int = 3, size: int = 24, last: bool = True, seed: int = 0, **changes: Any
) -> Prepare:
    chosen, problems = read(Augment, NONE | changes, "augment")
    assert problems == []
    train: Any = SimpleNamespace(
        augment=chosen,
        seed=seed,
        data=SimpleNamespace(mean=MEAN[:channels], std=STD[:channels], size=size),
        trainer=SimpleNamespace(channels_last=last),
        model={},
    )
    return Prepare(train, 5)


def pixels(samples: list[int], epoch: int | None = 0, channels: int = 3, size: int = 24) -> Pixels:
    """The images of these numbers, whatever batch they are in."""
    generator = torch.Generator().manual_seed(0)
    shape = (64, channels, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    images = images // 2 + torch.linspace(0, 120, size).byte()
    labels = torch.arange(64) % 5
    return Pixels(images[samples], labels[samples], Ticket(np.array(samples), epoch))


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_normalised_as_torchvision_does(channels, last) -> None:
    batch = pixels([3, 1, 4], None, channels)
    images, labels, ticket = prepare(channels=channels, last=last)(batch)
    assert ticket is batch.ticket
    expected = functional.to_dtype(batch.images, torch.float32, scale=True)
    expected = functional.normalize(expected, list(MEAN[:channels]), list(STD[:channels]))
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)
    assert torch.equal(labels, batch.labels)
    layout = torch.channels_last if last else torch.contiguous_format
    assert images.is_contiguous(memory_format=layout)


def test_normalising_is_exact() -> None:
    levels = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).reshape(1, 1, 2, 2)
    batch = Pixels(levels.expand(1, 3, 2, 2), torch.tensor([0]), Ticket(np.array([0]), None))
    expected = torch.tensor([
        [-1, -0.6, -0.2, 1], [-1, -0.2, 0.6, 3], [-0.05, 0.05, 0.15, 0.45],
    ]).reshape(1, 3, 2, 2)  # fmt: skip
    found = prepare(size=2)(batch).images
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("changes", [*CHANGES, *MIXES])
def test_images_are_floats_in_the_layout_that_is_wanted(changes, last) -> None:
    batch = pixels([0, 7, 9])
    before = batch.images.clone()
    images, labels, ticket = prepare(last=last, **changes)(batch)
    assert ticket is batch.ticket
    assert (images.dtype, tuple(images.shape)) == (torch.float32, (3, 3, 24, 24))
    layout = torch.channels_last if last else torch.contiguous_format
    assert images.is_contiguous(memory_format=layout)
    assert torch.equal(batch.images, before)
    if changes in MIXES:
        assert (labels.dtype, tuple(labels.shape)) == (torch.float32, (3, 5))
    else:
        assert (labels.dtype, tuple(labels.shape)) == (torch.int64, (3,))


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("size", [24, 19])
def test_what_an_image_becomes_does_not_depend_on_its_batch(changes, size) -> None:
    order = [5, 60, 0, 23, 8, 41, 2]
    done = prepare(size=size, **changes)
    together = done(pixels(order, size=size)).images
    for place, sample in enumerate(order):
        assert torch.equal(done(pixels([sample], size=size))[0][0], together[place])
    back = done(pixels(order[::-1], size=size)).images
    assert torch.equal(back.flip(0), together)
    large = done(pixels([*range(64), *order], size=size)).images
    assert torch.equal(large[64:], together)


@pytest.mark.parametrize("changes", [*CHANGES, *MIXES])
def test_measuring_changes_nothing(changes) -> None:
    batch = pixels([0, 7, 9], epoch=None)
    images, labels, _ = prepare(**changes)(batch)
    expected = prepare()(batch).images
    assert torch.equal(images, expected)
    assert torch.equal(labels, batch.labels)


@pytest.mark.parametrize("changes", [*CHANGES, *MIXES])
def test_draws_follow_seed_and_epoch_alone(changes) -> None:
    samples = list(range(12))
    state = torch.get_rng_state()
    first = prepare(**changes)(pixels(samples)).images
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert torch.equal(first, prepare(**changes)(pixels(samples))[0])
    assert not torch.equal(first, prepare(**changes)(pixels(samples, epoch=1))[0])
    assert not torch.equal(first, prepare(seed=1, **changes)(pixels(samples))[0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 63), min_size=1, max_size=9), st.sampled_from(MIXES))
def test_soft_labels_are_shares_of_the_classes_in_a_pair(samples, changes) -> None:
    batch = pixels(samples)
    labels = prepare(**changes)(batch).labels
    torch.testing.assert_close(labels.sum(1), torch.ones(len(samples)))
    for row, own, other in zip(labels, batch.labels, batch.labels.roll(1), strict=True):
        assert set(row.nonzero()[:, 0].tolist()) <= {int(own), int(other)}


def test_erased_pixels_have_the_mean() -> None:
    changed, plain = (prepare(erase=erase)(pixels(list(range(20))))[0] for erase in (1, 0))
    erased = changed != plain
    assert erased.flatten(1).any(1).all()
    assert (changed[erased] == 0).all()


def test_colour_is_neither_rounded_nor_clipped() -> None:
    changed, plain = (prepare(colour=colour)(pixels([0, 1, 2]))[0] for colour in (1, 0))
    moved = (changed - plain) * torch.tensor(STD).view(-1, 1, 1)
    spread = moved.flatten(2).amax(2) - moved.flatten(2).amin(2)
    assert spread.max() < 1e-5
    assert moved.abs().max() > 0.01


def test_the_changes_are_done_in_their_order() -> None:
    """Shifted first, normalised then, erased after that, so that the border is not the mean."""
    batch = Pixels(
        torch.full((40, 3, 24, 24), 255, dtype=torch.uint8), torch.zeros(40, dtype=torch.int64),
        Ticket(np.arange(40), 0),
    )  # fmt: skip
    images = prepare(shift=4, erase=1)(batch).images
    levels = images[:, 0].unique()
    torch.testing.assert_close(levels, torch.tensor([-1.0, 0.0, 1.0]))


@pytest.mark.parametrize("changes", [*CHANGES, *MIXES])
def test_everything_is_done_on_the_device_of_the_images(changes) -> None:
    batch = pixels([0, 7, 9, 11, 12, 13, 14, 15])
    elsewhere = batch._replace(images=batch.images.to("meta"), labels=batch.labels.to("meta"))
    images, labels, _ = prepare(**changes)(elsewhere)
    assert images.device.type == labels.device.type == "meta"
    assert images.shape == batch.images.shape
