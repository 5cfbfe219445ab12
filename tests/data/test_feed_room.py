"""Where there is no place for a cache of images, or none is possible."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from images import blobs, colour, encoded, mixed, settled, source

from cnnctl.data import cache, feed
from cnnctl.errors import DataError

WHOLE_IMAGES = "random crops want the whole images"


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_more_leaves_decoding_each_time(monkeypatch, call, number) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache.os, call, refuse)
    found = source(encoded(mixed(20)), train=14)
    why = f"cannot write {cache.place()}: {os.strerror(number)}"
    made = settled(found, colour())
    assert {(about.kind, about.why) for about in made.feeds.values()} == {("decode", why)}
    assert cache.listed() == []
    assert [path.suffix for path in cache.place().iterdir()] == [".lock"]
    with pytest.raises(DataError) as caught:
        settled(found, colour("data.cache=always"))
    assert str(caught.value) == f"data.cache=always is not possible: {why} (data.cache=auto)"


def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CNNCTL_CACHE", str(tmp_path / "file"))
    made = settled(source(encoded(mixed(20)), train=14), colour())
    assert made.feeds["val"].kind == "decode"
    assert made.feeds["val"].why == f"cannot write {cache.place()}: Not a directory"


def test_a_folder_that_must_not_be_looked_into_is_told(monkeypatch) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    found, train = source(encoded(mixed(20)), train=14), colour()
    monkeypatch.setattr(Path, "exists", refuse)  # what the user root is never told
    made = settled(found, train)
    assert made.feeds["val"].why == f"cannot write {cache.place()}: Permission denied"


def test_a_cache_that_is_there_needs_no_place_to_write(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    found = source(encoded(mixed(20)), train=14)
    settled(found, colour())
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(cache.os, "pwrite", refuse)
    for build in (True, False):  # also the other processes of a run, which come after the first
        made = settled(found, colour("data.cache=always"), build=build)
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
    train = colour(f"data.cache={mode}")
    if mode == "always" and why:
        with pytest.raises(DataError, match=f"^data.cache=always is not possible: {why}"):
            settled(found, train)
        return
    about = settled(found, train).feeds["train"]
    assert about.kind == ("map" if why is None else "decode")
    assert (about.why or "").startswith(why or "")


def test_files_are_not_looked_at_for_a_cache_that_cannot_be(monkeypatch) -> None:
    monkeypatch.setattr(feed.os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 1}.get)
    found = source(encoded(mixed(20)), train=14)
    monkeypatch.setattr(type(found.splits["train"].blobs), "stamp", None)
    assert settled(found, colour("data.verify=false")).feeds["train"].kind == "decode"


def test_always_and_random_crops_of_large_images_exclude_each_other() -> None:
    train = colour("augment=resized_crop", "data.cache=always")
    with pytest.raises(DataError) as caught:
        settled(source(encoded(mixed(20)), train=14), train)
    text = f"data.cache=always is not possible: {WHOLE_IMAGES} (data.cache=auto)"
    assert str(caught.value) == text
