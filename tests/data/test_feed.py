from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from images import (
    SIZE,
    blobs,
    colour,
    configured,
    encoded,
    mixed,
    picture,
    pixels,
    scatter,
    settled,
    source,
)

from cnnctl import data
from cnnctl.data import cache, feed
from cnnctl.data.order import Ticket
from cnnctl.data.reading import Reader, Whole, Window
from cnnctl.data.source import Encoded, Mapped

WHOLE_IMAGES = "random crops want the whole images"


def test_images_are_decoded_once_for_all_splits_and_runs() -> None:
    found, told = source(encoded(mixed(20)), train=14), []
    first = settled(found, colour(), told=told)
    assert blobs(found).reads == [1] * 20
    assert told == [("decoding", 20, 20)]
    second = settled(found, colour(), told=told)
    assert blobs(found).reads == [1] * 20
    assert len(told) == len(cache.listed()) == 1
    for one in (first, second):
        assert [type(images) for images in one.splits.values()] == [Mapped, Mapped]
        for split, count in (("train", 14), ("val", 6)):
            about = one.feeds[split]
            assert (about.kind, about.workers, about.why) == ("map", 0, None)
            assert about.bytes == count * 3 * SIZE**2
            assert about.file == cache.listed()[0]["cache"]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_cache_gives_the_pixels_of_decoding_each_time(channels) -> None:
    grey = ["data.channels=1", "data.mean=[0.5]", "data.std=[0.2]"] if channels == 1 else []
    found = source(encoded(mixed(20), channels), train=14)
    kept = settled(found, colour(*grey))
    fresh = settled(found, colour(*grey, "data.cache=never"))
    assert fresh.feeds["val"].kind == "decode"
    for split in ("train", "val"):
        assert torch.equal(pixels(kept, split), pixels(fresh, split))
        assert np.array_equal(kept.splits[split].labels, fresh.splits[split].labels)
        names = [[one.splits[split].name(index) for index in range(6)] for one in (kept, fresh)]
        assert names[0] == names[1]


def test_random_crops_of_larger_images_are_decoded_each_time() -> None:
    found = source(encoded(mixed(20)), train=14)
    made = settled(found, colour("augment=resized_crop"))
    assert (made.feeds["train"].kind, made.feeds["train"].why) == ("decode", WHOLE_IMAGES)
    assert made.splits["train"].least is None  # a crop is enlarged: it wants every pixel
    assert made.feeds["val"].kind == "map"


def test_random_crops_of_images_of_that_size_are_served_from_the_cache() -> None:
    found = source(encoded([picture(n, SIZE, SIZE) for n in range(20)]), train=14)
    train = colour("augment=resized_crop")
    made = settled(found, train)
    fresh = settled(found, replace(train, data=replace(train.data, cache="never")))
    assert {about.kind for about in made.feeds.values()} == {"map"}
    assert train.augment.crop is not None
    view, ticket = Window(SIZE, train.augment.crop), Ticket(np.arange(14), 3)
    one, other = (Reader(it.splits["train"], view, 0).batch(ticket) for it in (made, fresh))
    assert torch.equal(one.images, other.images)


def test_a_single_larger_image_is_noticed_before_crops_are_taken_from_a_cache() -> None:
    files = [picture(number % 5, SIZE, SIZE) for number in range(150)]
    files[1] = picture(0, 2 * SIZE, 2 * SIZE)  # not among those that are looked at first
    made = settled(source(encoded(files), train=140), colour("augment=resized_crop"))
    assert (made.feeds["train"].kind, made.feeds["train"].why) == ("decode", WHOLE_IMAGES)


def album(root: Path) -> Path:
    cats, dogs = ([picture(n + start, 20, 16) for n in range(6)] for start in (0, 50))
    return scatter(root, {"train": {"cat": cats, "dog": dogs}})


def _rewritten(file: Path) -> None:
    """As long as before: a PNG may be followed by anything."""
    before, fresh = file.stat(), picture(99, 6, 6)
    file.write_bytes(fresh.ljust(before.st_size, b"\0"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert file.stat().st_size == before.st_size


def _resized(file: Path) -> None:
    before = file.stat()
    file.write_bytes(picture(99, 20, 17))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        _rewritten,
        _resized,
        lambda file: file.unlink(),
        lambda file: file.with_name("more.png").write_bytes(picture(99, 9, 9)),
        lambda file: file.rename(file.with_name("other.png")),
    ],
)
def test_a_cache_is_never_stale(tmp_path, change) -> None:
    root = album(tmp_path / "photos")
    train = colour(f"data.root={root}")
    first = settled(data.load(train.data), train)
    again = settled(data.load(train.data), train)
    assert again.feeds == first.feeds
    change(root / "train" / "cat" / "003.png")
    made = settled(data.load(train.data), train)
    assert made.feeds["train"].file != first.feeds["train"].file
    without = replace(train, data=replace(train.data, cache="never"))
    fresh = settled(data.load(train.data), without)
    for split in ("train", "val"):
        assert torch.equal(pixels(made, split), pixels(fresh, split))


def test_a_dry_run_decodes_and_writes_nothing() -> None:
    found = source(encoded(mixed(20)), train=14)
    made = settled(found, colour(), build=False)
    told = made.feeds["val"]
    assert (told.kind, told.bytes, told.file) == ("map", 6 * 3 * SIZE**2, None)
    assert told.why == "it will be made before training"
    assert sum(blobs(found).reads) == 0
    assert not cache.place().exists()
    assert settled(found, colour("data.cache=always"), build=False).feeds["val"].why


@pytest.mark.parametrize(
    ("place", "cores", "workers"),
    [
        ({"accelerator": "cpu"}, 2, 0), ({"accelerator": "cpu"}, 16, 4),
        ({"accelerator": "cpu", "local": 4}, 16, 1), ({"accelerator": "gpu"}, 16, 16),
        ({"accelerator": "gpu", "local": 4}, 16, 4), ({"accelerator": "gpu"}, 96, 16),
        ({"accelerator": "mps"}, 8, 8),
    ],
)  # fmt: skip
def test_decoding_gets_the_cores_that_training_leaves(monkeypatch, place, cores, workers) -> None:
    monkeypatch.setattr(feed.os, "cpu_count", lambda: cores)
    found = source(encoded(mixed(4)), train=2)
    auto = settled(found, colour("data.cache=never"), **place)
    assert auto.feeds["val"].workers == workers
    given = settled(found, colour("data.cache=never", "data.workers=3"), **place)
    assert given.feeds["val"].workers == 3


def test_images_in_memory_stay_there() -> None:
    train = configured()
    found = data.load(train.data)
    made = settled(found, train)
    assert made.splits == found.splits
    assert {about.kind for about in made.feeds.values()} == {"memory"}
    assert made.feeds["val"].bytes == 179 * 32 * 32


def test_a_source_of_both_kinds_is_settled_split_by_split() -> None:
    images = encoded(mixed(20))
    found = source(images, train=14)
    part = Encoded(images.blobs, images.labels[:3], 3, indices=np.array([2, 0, 1]))
    made = settled(replace(found, splits={**found.splits, "test": part}), colour())
    assert list(made.feeds) == ["train", "val", "test"]
    expected = torch.stack([Whole(SIZE)(part.at_least(SIZE)[index]) for index in range(3)])
    assert torch.equal(pixels(made, "test"), expected)
