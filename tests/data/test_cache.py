from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from caches import FORM, built, found, left
from images import Album, encoded, mixed, picture

from cnnctl.data import cache
from cnnctl.data.cache import PIXELS, Form
from cnnctl.data.reading import Whole
from cnnctl.data.source import Encoded


def expected(images: Encoded, form: Form = FORM) -> torch.Tensor:
    view = Whole(form.size)
    return torch.stack([view(images[index]) for index in range(len(images.labels))])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [5, 12])
def test_it_holds_what_is_decoded_and_resized(channels, size) -> None:
    images, form = encoded(mixed(17), channels), Form(size, channels)
    made = built(images, form)
    assert torch.equal(made.pixels, expected(images, form))
    assert (made.pixels.dtype, made.broken) == (torch.uint8, {})
    shapes = {tuple(images[index].shape[1:]) for index in range(17)}
    assert made.resized == sum(tuple(images[n].shape[1:]) != (size, size) for n in range(17))
    assert len(shapes) > 3
    assert (made.folder / PIXELS).stat().st_size == 17 * channels * size**2
    assert left() == []


def test_images_are_decoded_once_and_then_opened() -> None:
    images = encoded(mixed(9))
    assert found(images) is None
    assert sum(images.blobs.reads) == 0
    made = built(images)
    assert images.blobs.reads == [1] * 9
    for again in (found(images), built(images)):
        assert again is not None
        assert torch.equal(again.pixels, made.pixels)
        assert again.folder == made.folder
    assert images.blobs.reads == [1] * 9


def test_many_parts_are_written_to_their_places(monkeypatch) -> None:
    told: list[tuple[int, int]] = []
    images = encoded([picture(number, 8, 8) for number in range(23)])
    monkeypatch.setattr(cache, "PART", 4)
    folder = cache.folder_of(images, FORM)
    made = cache.build(folder, images, FORM, lambda *done: told.append(done))
    assert torch.equal(made.pixels, expected(images))
    assert told == [(done, 23) for done in (4, 8, 12, 16, 20, 23)]
    monkeypatch.setattr(cache, "LARGEST", 500)  # less than three images of 192 bytes
    cache.clear()
    told.clear()
    again = cache.build(folder, images, FORM, lambda *done: told.append(done))
    assert torch.equal(again.pixels, made.pixels)
    assert told[:2] == [(2, 23), (4, 23)]


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_all_of_them(monkeypatch) -> None:
    images, write = encoded([picture(number, 8, 8) for number in range(5)]), os.pwrite
    monkeypatch.setattr(cache.os, "pwrite", lambda file, data, at: write(file, data[:7], at))
    assert torch.equal(built(images).pixels, expected(images))


def test_every_split_of_the_same_files_has_the_same_cache() -> None:
    images = encoded(mixed(8))
    part = images.pick(np.array([5, 1]))
    assert cache.folder_of(part, FORM) == cache.folder_of(images, FORM)
    assert torch.equal(built(part).pixels, expected(images))


def test_another_form_or_file_is_another_cache(monkeypatch) -> None:
    files = mixed(6)
    images = encoded(files)
    folders = [cache.folder_of(images, form) for form in (FORM, Form(9, 3), Form(8, 1))]
    folders.append(cache.folder_of(images.at_least(8), FORM))
    others = ([*files[:5], files[0]], files[:5], [*files, files[0]], files[::-1])
    folders += [cache.folder_of(encoded(changed), FORM) for changed in others]
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    folders.append(cache.folder_of(images, FORM))
    assert len(set(folders)) == len(folders)


def test_broken_images_are_black_and_told() -> None:
    files = [picture(0, 8, 8), b"", picture(1, 8, 8)[:60], picture(2, 9, 9)]
    images = encoded(files, missing=[3])
    made = built(images)
    assert list(made.broken) == [1, 2, 3]
    assert made.broken[1] == "cannot read image album/1.png: the file is empty"
    assert made.broken[3] == "cannot read image album/3.png: Permission denied"
    assert made.pixels[1:].sum() == 0
    assert made.pixels[0].sum() > 0
    again = found(images)
    assert again is not None
    assert (again.broken, again.resized) == (made.broken, 0)


class Slow(Album):
    """Reads take their time, so that two processes meet."""

    def __getitem__(self, index: int, /) -> bytes:
        time.sleep(0.02)
        return super().__getitem__(index)


def _build(files: list[bytes], answers: Any) -> None:
    images = Encoded(Slow(files), np.zeros(len(files), np.int64), 3)
    answers.put((built(images).pixels.numpy().tobytes(), sum(images.blobs.reads)))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_processes_that_build_at_once_make_one_cache() -> None:
    files = mixed(10)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    children = [context.Process(target=_build, args=(files, answers)) for _ in range(2)]
    for child in children:
        child.start()
    told = [answers.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    images = encoded(files)
    assert {pixels for pixels, _ in told} == {expected(images).numpy().tobytes()}
    assert sorted(reads for _, reads in told) == [0, 10]
    assert [Path(row["cache"]) for row in cache.listed()] == [cache.folder_of(images, FORM)]
    assert left() == []


def test_a_cache_may_be_read_by_whoever_the_umask_lets() -> None:
    before = os.umask(0o022)
    try:
        folder = built(encoded(mixed(3))).folder
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / PIXELS).stat().st_mode & 0o777 == 0o644


def test_a_change_of_served_pixels_does_not_reach_the_file() -> None:
    images = encoded(mixed(3))
    made = built(images)
    wanted = made.pixels.clone()
    made.pixels.zero_()
    again = found(images)
    assert again is not None
    assert torch.equal(again.pixels, wanted)


def test_caches_are_listed_and_cleared() -> None:
    assert cache.listed() == []
    assert cache.clear() == 0
    first, second = encoded(mixed(4)), encoded(mixed(5))
    folders = {str(built(first).folder): 4, str(built(second, Form(4, 3)).folder): 5}
    rows = cache.listed()
    assert {row["cache"]: row["images"] for row in rows} == folders
    assert {(row["size"], row["channels"], row["bytes"]) for row in rows} == {
        (8, 3, 4 * 192), (4, 3, 5 * 48),
    }  # fmt: skip
    assert {row["first"] for row in rows} == {"album/0.png"}
    assert cache.clear() > 4 * 192 + 5 * 48
    assert cache.listed() == []
    assert not cache.place().exists()
    assert built(first)
