"""Caches of images that are damaged, or were never finished."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from caches import FORM, built, found, left
from images import encoded, mixed

from cnnctl.data import cache
from cnnctl.data.cache import ABOUT, PIXELS

DAMAGE = ["", "{", "[]", "null", '"text"', "{}", '{"version": 1}', "\x00\x00\x00"]


def _cut(folder: Path) -> None:
    with (folder / PIXELS).open("r+b") as file:
        file.truncate(100)


def _grown(folder: Path) -> None:
    with (folder / PIXELS).open("ab") as file:
        file.write(b"x")


def _older(folder: Path) -> None:
    about = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps({**about, "version": cache.VERSION - 1}))


@pytest.mark.parametrize(
    "damage",
    [
        _cut, _grown, _older,
        lambda folder: (folder / PIXELS).unlink(), lambda folder: (folder / ABOUT).unlink(),
        *(lambda folder, text=text: (folder / ABOUT).write_text(text) for text in DAMAGE),
    ],
)  # fmt: skip
def test_a_damaged_cache_is_never_used_but_built_again(damage) -> None:
    images = encoded(mixed(7))
    first = built(images)
    wanted = first.pixels.clone()
    damage(first.folder)
    assert found(images) is None
    cache.listed()  # tells of whole caches only
    assert torch.equal(built(images).pixels, wanted)
    assert images.blobs.reads == [2] * 7
    assert left() == []


def test_what_a_killed_process_left_is_removed_by_the_next() -> None:
    images = encoded(mixed(5))
    folder = cache.folder_of(images, FORM)
    half = folder.with_name(f".{folder.name}")
    half.mkdir(parents=True)
    (half / PIXELS).write_bytes(b"half of it")
    assert found(images) is None
    assert left() == [half.name]
    assert built(images).pixels.sum() > 0
    assert left() == []


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fsync"])
def test_a_full_disk_leaves_nothing_half_written(monkeypatch, call) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.os, call, full)
    images = encoded(mixed(6))
    with pytest.raises(OSError, match="No space left on device"):
        built(images)
    assert cache.listed() == []
    assert left() == []
    monkeypatch.undo()
    assert found(images) is None


def test_an_interrupted_build_leaves_nothing_either() -> None:
    def interrupted(_: int, __: int) -> None:
        raise KeyboardInterrupt

    images = encoded(mixed(6))
    with pytest.raises(KeyboardInterrupt):
        cache.build(cache.folder_of(images, FORM), images, FORM, interrupted)
    assert cache.listed() == []
    assert left() == []
