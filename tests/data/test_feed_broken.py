"""Images that cannot be read, with a cache and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from images import blobs, colour, encoded, mixed, picture, pixels, scatter, settled, source

from cnnctl import data
from cnnctl.data.source import Encoded, Source
from cnnctl.errors import DataError

BAD = {3: b"", 8: b"no image", 16: picture(0, 30, 30)[:-40]}
REASONS = {3: "the file is empty", 8: "not an image"}
HINT = "mend or remove it, or leave such files out with data.on_error=skip"
WAYS = ["data.cache=auto", "data.cache=never"]


def album() -> Source:
    """Twenty images; 3 and 8 of training are broken, and 16 of validation."""
    files = [BAD.get(number, file) for number, file in enumerate(mixed(20))]
    return source(encoded(files), train=14)


@pytest.mark.parametrize("way", WAYS)
def test_broken_images_fail_in_one_line_that_names_the_first(way) -> None:
    found = album()
    for _ in range(2):  # the second time the verdict is known
        with pytest.raises(DataError) as caught:
            settled(found, colour(way))
        text = "cannot read image album/3.png: the file is empty, and 2 more"
        assert str(caught.value) == f"{text} ({HINT})"
    assert blobs(found).reads == [1] * 20


@pytest.mark.parametrize("way", WAYS)
def test_a_single_broken_image_has_no_others(way) -> None:
    found = album()
    splits = {
        "train": found.splits["train"].pick(np.array([0, 1, 2, 8])),
        "val": found.splits["val"],
    }
    splits["val"] = splits["val"].pick(np.array([0, 1]))
    with pytest.raises(DataError) as caught:
        settled(replace(found, splits=splits), colour(way))
    assert caught.value.message == "cannot read image album/8.png: not an image"


@pytest.mark.parametrize("way", WAYS)
def test_broken_images_are_left_out_and_told(way) -> None:
    found = replace(album(), skipped={"elsewhere.png": "in the quarantine"})
    for _ in range(2):
        made = settled(found, colour(way, "data.on_error=skip"))
        assert made.sizes == {"train": 12, "val": 5}
        assert list(made.skipped) == [
            "elsewhere.png", *(f"album/{number}.png" for number in (3, 8, 16)),
        ]  # fmt: skip
        for number, reason in REASONS.items():
            assert made.skipped[f"album/{number}.png"] == reason
        names = [made.splits["train"].name(index) for index in range(12)]
        kept = [number for number in range(14) if number not in BAD]
        assert names == [f"album/{number}.png" for number in kept]
        assert made.splits["train"].labels.tolist() == [number % 2 for number in kept]
        assert pixels(made).shape[0] == 5
    assert made.feeds["val"].kind == ("map" if way == "data.cache=auto" else "decode")


def test_both_ways_leave_out_the_same_and_read_the_same() -> None:
    kept, fresh = (settled(album(), colour(way, "data.on_error=skip")) for way in WAYS)
    assert kept.skipped == fresh.skipped
    for split in ("train", "val"):
        assert (pixels(kept, split) == pixels(fresh, split)).all()


def test_a_broken_image_of_no_split_is_nobodys_concern() -> None:
    found = album()
    whole = [number for number in range(14) if number not in BAD]
    splits = {
        "train": found.splits["train"].pick(np.array(whole)),
        "val": found.splits["val"].pick(np.array([0, 1])),
    }
    for way in WAYS:
        made = settled(replace(found, splits=splits), colour(way))
        assert made.skipped == {}
        assert made.sizes == {"train": 12, "val": 2}


def test_without_looking_before_a_broken_image_is_met_in_training() -> None:
    found = album()
    made = settled(found, colour("data.cache=never", "data.verify=false"))
    assert sum(blobs(found).reads) == 0
    assert made.sizes == {"train": 14, "val": 6}
    with pytest.raises(DataError, match=r"^cannot read image album/16\.png: "):
        pixels(made)


def test_a_cache_finds_them_though_nobody_asked_to_look() -> None:
    with pytest.raises(DataError, match=r"^cannot read image album/3\.png: .*, and 2 more"):
        settled(album(), colour("data.verify=false"))


def test_looking_is_told_and_done_once() -> None:
    found, told = source(encoded(mixed(20)), train=14), []
    for _ in range(2):
        settled(found, colour("data.cache=never"), told=told)
    assert told == [("checking", 14, 14), ("checking", 6, 6)]
    assert blobs(found).reads == [1] * 20


def test_a_dry_run_looks_at_nothing_but_knows_what_was_found_before() -> None:
    found, train = album(), colour("data.cache=never", "data.on_error=skip")
    assert settled(found, train, build=False).skipped == {}
    assert sum(blobs(found).reads) == 0
    settled(found, train)
    assert len(settled(found, train, build=False).skipped) == 3


@pytest.mark.parametrize("way", WAYS)
def test_a_class_without_a_readable_image_is_refused(way) -> None:
    files = mixed(20)
    files[1::2] = [b"broken"] * 10
    found = source(encoded(files), train=14)
    with pytest.raises(DataError) as caught:
        settled(found, colour(way, "data.on_error=skip"))
    assert caught.value.message == "no image of class 'dog' is left to train on"


@pytest.mark.parametrize("way", WAYS)
def test_files_of_a_folder_are_named_by_their_paths(tmp_path, way) -> None:
    cats, dogs = mixed(6), [*mixed(5), b"nonsense"]
    root = scatter(tmp_path / "photos", {"train": {"cat": cats, "dog": dogs}})
    train = colour(way, f"data.root={root}", "data.on_error=skip")
    made = settled(data.load(train.data), train)
    assert made.skipped == {str(root / "train/dog/005.png"): "not an image"}
    assert sum(made.sizes.values()) == 11


def test_crops_of_native_images_leave_out_the_broken_ones_too() -> None:
    files = [picture(number, 12, 12) for number in range(150)]
    files[1] = b"broken"  # not among those that are looked at first
    images = encoded(files)
    assert isinstance(images, Encoded)
    train = colour("augment=resized_crop", "data.on_error=skip")
    made = settled(source(images, train=140), train)
    assert made.feeds["train"].kind == "map"
    assert made.sizes["train"] == 139
    assert list(made.skipped) == ["album/1.png"]
