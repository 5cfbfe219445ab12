from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from images import colour, configured, encoded, mixed, picture, scatter, source

from cnnctl import data
from cnnctl.config.schema import Train
from cnnctl.data import cache, feed
from cnnctl.data.feed import Wanted
from cnnctl.data.order import Ticket
from cnnctl.data.reading import Reader, Whole, Window
from cnnctl.data.source import Encoded, Mapped, Source
from cnnctl.errors import DataError

SIZE = 12
WHOLE_IMAGES = "random crops want the whole images"
Broken = Callable[..., Source]


def settled(found: Source, train: Train, *, build: bool = True, **more: Any) -> Source:
    """As a run on one CPU would read it; what is told goes to the list `told`, if given."""
    told = more.pop("told", [])
    place = {"accelerator": "cpu", "local": 1} | more
    wanted = Wanted(data=train.data, augment=train.augment, build=build, **place)
    return feed.settle(found, wanted, lambda *done: told.append(done))


def blobs(found: Source) -> Any:
    return found.splits["train"].blobs


def pixels(found: Source, split: str = "val") -> torch.Tensor:
    reader = Reader(found.splits[split], Whole(SIZE), seed=0)
    return reader.batch(Ticket(np.arange(len(reader)), None)).images


def test_images_are_decoded_once_for_all_splits_and_runs() -> None:
    found, told = source(encoded(mixed(20)), train=14), []
    first = settled(found, colour(SIZE), told=told)
    assert blobs(found).reads == [1] * 20
    assert told == [("decoding", 20, 20)]
    second = settled(found, colour(SIZE), told=told)
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
    kept = settled(found, colour(SIZE, *grey))
    fresh = settled(found, colour(SIZE, *grey, "data.cache=never"))
    assert fresh.feeds["val"].kind == "decode"
    for split in ("train", "val"):
        assert torch.equal(pixels(kept, split), pixels(fresh, split))
        assert np.array_equal(kept.splits[split].labels, fresh.splits[split].labels)
        names = [[one.splits[split].name(index) for index in range(6)] for one in (kept, fresh)]
        assert names[0] == names[1]


def test_random_crops_of_larger_images_are_decoded_each_time() -> None:
    found = source(encoded(mixed(20)), train=14)
    made = settled(found, colour(SIZE, "augment=resized_crop"))
    assert (made.feeds["train"].kind, made.feeds["train"].why) == ("decode", WHOLE_IMAGES)
    assert made.splits["train"].least is None  # a crop is enlarged: it wants every pixel
    assert made.feeds["val"].kind == "map"


def test_random_crops_of_images_of_that_size_are_served_from_the_cache() -> None:
    found = source(encoded([picture(n, SIZE, SIZE) for n in range(20)]), train=14)
    train = colour(SIZE, "augment=resized_crop")
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
    made = settled(source(encoded(files), train=140), colour(SIZE, "augment=resized_crop"))
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
    train = colour(SIZE, f"data.root={root}")
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


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_more_leaves_decoding_each_time(monkeypatch, call, number) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache.os, call, refuse)
    found = source(encoded(mixed(20)), train=14)
    why = f"cannot write {cache.place()}: {os.strerror(number)}"
    made = settled(found, colour(SIZE))
    assert {(about.kind, about.why) for about in made.feeds.values()} == {("decode", why)}
    assert cache.listed() == []
    assert [path.suffix for path in cache.place().iterdir()] == [".lock"]
    with pytest.raises(DataError) as caught:
        settled(found, colour(SIZE, "data.cache=always"))
    assert str(caught.value) == f"data.cache=always is not possible: {why} (data.cache=auto)"


def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CNNCTL_CACHE", str(tmp_path / "file"))
    made = settled(source(encoded(mixed(20)), train=14), colour(SIZE))
    assert made.feeds["val"].kind == "decode"
    assert made.feeds["val"].why == f"cannot write {cache.place()}: Not a directory"


def test_a_folder_that_must_not_be_looked_into_is_told(monkeypatch) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    found, train = source(encoded(mixed(20)), train=14), colour(SIZE)
    monkeypatch.setattr(Path, "exists", refuse)  # what the user root is never told
    made = settled(found, train)
    assert made.feeds["val"].why == f"cannot write {cache.place()}: Permission denied"


def test_a_cache_that_is_there_needs_no_place_to_write(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    found = source(encoded(mixed(20)), train=14)
    settled(found, colour(SIZE))
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(cache.os, "pwrite", refuse)
    for build in (True, False):  # also the other processes of a run, which come after the first
        made = settled(found, colour(SIZE, "data.cache=always"), build=build)
        assert made.feeds["train"].kind == "map"
    assert blobs(found).reads == [1] * 20


@pytest.mark.parametrize(
    ("free", "memory", "mode", "why"),
    [
        (10**12, 10**12, "auto", None),
        (10_000, 10**12, "auto", "0.0 GB do not fit beside 0.0 GB free in "),
        (10**12, 10_000, "auto", "0.0 GB do not fit in 0.0 GB of memory"),
        (10**12, 10_000, "always", None),
        (9_000, 10**12, "always", None),
        (8_000, 10**12, "always", "0.0 GB do not fit beside 0.0 GB free in "),
    ],
)
def test_a_cache_leaves_room_on_the_disk_and_in_memory(
    monkeypatch, free, memory, mode, why
) -> None:
    monkeypatch.setattr(feed.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr(feed.os, "sysconf", {"SC_PHYS_PAGES": memory, "SC_PAGE_SIZE": 1}.get)
    found = source(encoded(mixed(20)), train=14)  # 20 x 432 bytes
    train = colour(SIZE, f"data.cache={mode}")
    if mode == "always" and why:
        with pytest.raises(DataError, match=f"^data.cache=always is not possible: {why}"):
            settled(found, train)
        return
    about = settled(found, train).feeds["train"]
    assert about.kind == ("map" if why is None else "decode")
    assert (about.why or "").startswith(why or "")


def test_always_and_random_crops_of_large_images_exclude_each_other() -> None:
    train = colour(SIZE, "augment=resized_crop", "data.cache=always")
    with pytest.raises(DataError) as caught:
        settled(source(encoded(mixed(20)), train=14), train)
    text = f"data.cache=always is not possible: {WHOLE_IMAGES} (data.cache=auto)"
    assert str(caught.value) == text


def test_a_dry_run_decodes_and_writes_nothing() -> None:
    found = source(encoded(mixed(20)), train=14)
    made = settled(found, colour(SIZE), build=False)
    assert made.feeds["val"].kind == "decode"
    assert made.feeds["val"].why == f"to be decoded once, {20 * 3 * SIZE**2} bytes"
    assert sum(blobs(found).reads) == 0
    assert not cache.place().exists()
    assert settled(found, colour(SIZE, "data.cache=always"), build=False).feeds["val"].why


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
    auto = settled(found, colour(SIZE, "data.cache=never"), **place)
    assert auto.feeds["val"].workers == workers
    given = settled(found, colour(SIZE, "data.cache=never", "data.workers=3"), **place)
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
    made = settled(replace(found, splits={**found.splits, "test": part}), colour(SIZE))
    assert list(made.feeds) == ["train", "val", "test"]
    expected = torch.stack([Whole(SIZE)(part.at_least(SIZE)[index]) for index in range(3)])
    assert torch.equal(pixels(made, "test"), expected)
