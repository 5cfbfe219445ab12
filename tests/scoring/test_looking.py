from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from images import colour, encoded, mixed, picture, settled, source
from learners import CPU
from torch import Tensor
from torchvision.transforms.v2 import functional

from cnnctl.data.source import Encoded, Feed, Mapped, Source, Stored
from cnnctl.errors import DataError
from cnnctl.nets import blocks
from cnnctl.nets.net import Net
from cnnctl.scoring import looking
from cnnctl.scoring.scorer import Eager
from cnnctl.scoring.scores import Scores, score
from cnnctl.scoring.ways import Way

SIZE = 12
TWO = ("cat", "dog")


def whole(image: Tensor) -> list[Tensor]:
    return [image]


def scorer(train: Any) -> Eager:
    torch.manual_seed(0)
    layers: Any = blocks.unit("conv", 3, 4, 3) | blocks.head(4, 2)
    return Eager(Net(layers, "he"), train, TWO, CPU)


def measured(found: Source, train: Any, way: Way) -> Scores:
    return score(scorer(train), found, "val", train, way, lambda *_: None)


def large(count: int) -> list[bytes]:
    return [picture(number, 30 + number, 40, "RGB", "JPEG") for number in range(count)]


def test_images_come_in_order_some_at_a_time() -> None:
    images = encoded(mixed(7))
    found = list(looking.read(images, colour("data.workers=0"), whole, 3))
    assert [samples.tolist() for samples, _ in found] == [[0, 1, 2], [3, 4, 5], [6]]
    looks = [looks for _, several in found for looks in several]
    for number, (one,) in enumerate(looks):
        assert torch.equal(one, images[number])
    assert len({tuple(one.shape) for (one,) in looks}) > 2


def test_processes_give_the_same() -> None:
    images = encoded(mixed(7))
    alone, many = (
        [looks for _, looks in looking.read(images, colour(f"data.workers={count}"), whole, 3)]
        for count in (0, 2)
    )
    for one, other in zip(alone, many, strict=True):
        assert all(torch.equal(a, b) for (a,), (b,) in zip(one, other, strict=True))


def test_torchs_random_numbers_stay_as_they_are() -> None:
    before = torch.get_rng_state()
    assert len(list(looking.read(encoded(mixed(3)), colour("data.workers=0"), whole, 2))) == 2
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named_in_one_line(workers: int) -> None:
    images = encoded(mixed(4), missing=[2])
    with pytest.raises(DataError) as caught:
        list(looking.read(images, colour(f"data.workers={workers}"), whole, 2))
    assert str(caught.value) == "cannot read image album/2.png: Permission denied"


def test_what_is_in_memory_is_the_original() -> None:
    images = Stored(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), np.arange(2))
    assert looking.originals(images, 9) is images


def test_what_is_decoded_keeps_as_many_pixels_as_the_largest_scale_wants() -> None:
    images: Any = encoded(large(2)).at_least(8)
    assert min(images[0].shape[1:]) < 30
    found = looking.originals(images, 30)
    assert isinstance(found, Encoded)
    assert found[0].shape == (3, 30, 40)
    assert torch.equal(found[1], encoded(large(2))[1])


def test_behind_a_cache_are_the_files() -> None:
    train = colour("data.cache=always")
    found = settled(source(encoded(large(6)), 4), train)
    assert isinstance(found.splits["val"], Mapped)
    assert found.splits["val"][0].shape == (3, SIZE, SIZE)
    behind = looking.originals(found.splits["val"], 40)
    assert [behind.name(number) for number in range(2)] == ["album/4.png", "album/5.png"]
    assert behind[1].shape == (3, 35, 40)


@pytest.mark.parametrize("way", [Way("ten"), Way("ten", (13, 20)), Way("dense", (16, 24))])
def test_a_cache_changes_nothing(way: Way) -> None:
    found = source(encoded(large(6)), 4)
    told = []
    for keep in ("always", "never"):
        train = colour(f"data.cache={keep}", "data.workers=0")
        told.append(measured(settled(found, train), train, way).logits)
    assert torch.equal(*told)


def test_ten_crops_are_cut_from_the_original_not_from_the_cache() -> None:
    train = colour("data.cache=always")
    found = settled(source(encoded(large(5)), 4), train)
    answer = measured(found, train, Way("ten", (14,))).probabilities
    resized = functional.resize(encoded(large(5)).at_least(14)[4], [14], antialias=True)
    five = functional.five_crop(resized, [SIZE, SIZE])
    ten = torch.stack([*five, *(one.flip(-1) for one in five)])
    torch.testing.assert_close(answer[0], scorer(train)(ten).softmax(1).mean(0))


def test_whole_images_of_any_shape_are_seen() -> None:
    train = colour("data.cache=never", "data.workers=0")
    files = [picture(number, 20, 20 + 9 * number) for number in range(5)]
    answer = measured(settled(source(encoded(files), 2), train), train, Way("dense", (20,)))
    net = scorer(train)
    for number, probabilities in enumerate(answer.probabilities, start=2):
        wanted = net(encoded(files)[number][None]).softmax(1)[0]
        torch.testing.assert_close(probabilities, wanted)


def test_names_and_labels_are_those_of_the_split() -> None:
    train = colour("data.cache=never", "data.workers=0")
    found = measured(settled(source(encoded(mixed(7)), 4), train), train, Way("ten"))
    assert found.names == ("album/4.png", "album/5.png", "album/6.png")
    assert found.labels.tolist() == [0, 1, 0]
    assert found.classes == TWO


def test_what_is_done_is_told() -> None:
    told = []
    images = Stored(torch.zeros(9, 3, SIZE, SIZE, dtype=torch.uint8), np.arange(9) % 2)
    given = Source(TWO, {"val": images}, feeds={"val": Feed(kind="memory")})
    train = colour("data.batch_size=40")
    score(scorer(train), given, "val", train, Way("ten"), lambda *one: told.append(one))
    assert told == [("measuring", 4, 9), ("measuring", 8, 9), ("measuring", 9, 9)]


def test_what_processes_send_takes_no_open_files() -> None:
    """Tensors would take one each, which a few batches of ten crops would use up."""
    images = encoded(mixed(40))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(list(Path("/proc/self/fd").iterdir())) + 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
    try:
        read = looking.read(images, colour("data.workers=2"), lambda image: [image] * 20, 10)
        assert sum(len(looks) for _, several in read for looks in several) == 800
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
