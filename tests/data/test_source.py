from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from images import Album, encoded, picture, source

from cnnctl.data.source import Encoded, Feed, Mapped, Stored
from cnnctl.errors import DataError

FILES = [picture(number, 8 + number, 9) for number in range(6)]


def stored() -> Stored:
    pixels = torch.arange(6 * 3 * 2 * 2, dtype=torch.uint8).view(6, 3, 2, 2)
    return Stored(pixels, np.array([0, 1, 0, 1, 1, 0]))


def mapped() -> Mapped:
    images = Encoded(Album(FILES), np.array([0, 1, 0]), 3, indices=np.array([5, 2, 0]))
    return Mapped(stored().pixels, images)


@pytest.mark.parametrize("images", [stored(), mapped(), encoded(FILES)], ids=type)
def test_picked_images_keep_their_labels_names_and_pixels(images) -> None:
    count = len(images.labels)
    order = np.array([count - 1, 0, count - 2])
    picked = images.pick(order)
    again = picked.pick(np.array([2, 0]))
    assert type(picked) is type(images)
    assert np.array_equal(picked.labels, images.labels[order])
    for index, place in enumerate(order):
        assert torch.equal(picked[index], images[place])
    for index, place in enumerate(order[[2, 0]]):
        assert torch.equal(again[index], images[place])
        if not isinstance(images, Mapped | Encoded):
            continue
        assert again.name(index) == picked.name([2, 0][index]) == images.name(int(place))


@pytest.mark.parametrize("images", [stored(), mapped()], ids=type)
def test_a_batch_is_its_images(images) -> None:
    samples = np.array([2, 0, 1, 1])
    expected = torch.stack([images[index] for index in samples])
    assert torch.equal(images.batch(samples), expected)


def test_a_map_has_a_row_for_every_blob_and_serves_those_of_its_split() -> None:
    images = mapped()
    assert torch.equal(images[0], stored().pixels[5])
    assert images.name(1) == "album/2.png"
    assert images.labels.tolist() == [0, 1, 0]
    assert images.pick(np.array([1])).pixels is images.pixels  # of the same map: no copy


def test_images_in_memory_are_told_apart_by_number() -> None:
    assert stored().name(4) == "image 4"


@pytest.mark.parametrize("channels", [1, 3])
def test_files_are_decoded_as_they_are_asked_for(channels) -> None:
    album = Album(FILES)
    images = Encoded(album, np.zeros(6, np.int64), channels)
    assert sum(album.reads) == 0
    found = images[4]
    assert tuple(found.shape) == (channels, 12, 9)
    assert album.reads == [0, 0, 0, 0, 1, 0]


def test_a_large_jpeg_may_be_decoded_at_a_part_of_its_size() -> None:
    images = encoded([picture(0, 90, 64, "RGB", "JPEG"), picture(1, 90, 64)])
    assert tuple(images[0].shape) == (3, 90, 64)
    smaller = images.at_least(16)
    assert (smaller.least, images.least) == (16, None)
    assert tuple(smaller[0].shape) == (3, 23, 16)
    assert tuple(smaller.pick(np.array([0]))[0].shape) == (3, 23, 16)
    assert tuple(smaller[1].shape) == (3, 90, 64)  # a PNG has one size


def test_an_image_that_cannot_be_read_is_named() -> None:
    images = encoded([*FILES[:2], b"nonsense"], missing=[1])
    for index, text in ((1, "album/1.png: Permission denied"), (2, "album/2.png: not an image")):
        with pytest.raises(DataError) as caught:
            images.pick(np.array([0, index]))[1]
        assert caught.value.message == f"cannot read image {text}"


def test_images_travel_to_a_loader_process() -> None:
    for images in (stored(), encoded(FILES).at_least(4)):
        there = pickle.loads(pickle.dumps(images))  # noqa: S301 - our own
        assert torch.equal(there[3], images[3])
        assert np.array_equal(there.labels, images.labels)


def test_a_source_knows_its_sizes() -> None:
    found = source(encoded(FILES), train=4)
    assert found.sizes == {"train": 4, "val": 2}
    assert (found.skipped, found.feeds) == ({}, {})


def test_a_feed_says_where_the_pixels_are() -> None:
    feed = Feed(kind="decode", workers=3, why="too large")
    assert (feed.bytes, feed.file) == (0, None)
    with pytest.raises(AttributeError):
        feed.workers = 2
