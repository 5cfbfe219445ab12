from __future__ import annotations

import os
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import saved, scene
from snapshots import png, written

from cnnctl.data import pictures
from cnnctl.data.pictures import Failed, Picture

SIZE = 8


def names(*words: str) -> list[str]:
    found, failed = pictures.find(words)
    assert failed == []
    return found


def test_a_folder_is_searched_with_all_below_and_sorted_as_people_count() -> None:
    for name in ("10.png", "2.PNG", "b/1.jpeg", "a10/x.gif", "a9/x.gif", "notes.txt", ".h.png"):
        written(f"in/{name}")
    written("in/.hidden/1.png")
    written("in/folder.jpg/3.webp")
    assert names("in") == [
        "in/2.PNG", "in/10.png", "in/a9/x.gif", "in/a10/x.gif", "in/b/1.jpeg",
        "in/folder.jpg/3.webp",
    ]  # fmt: skip
    assert names("./in/b") == ["./in/b/1.jpeg"]
    assert names("in/b/") == ["in/b/1.jpeg"]


def test_a_named_file_is_taken_whatever_its_ending() -> None:
    for name in ("a.txt", ".hidden.png", "b"):
        written(name)
    assert names("b", "a.txt", ".hidden.png") == ["b", "a.txt", ".hidden.png"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*.png", ["in/2.png", "in/10.png"]),
        ("in/**", ["in/2.png", "in/10.png", "in/deep/er/3.png"]),
        ("in/**/*.png", ["in/2.png", "in/10.png", "in/deep/er/3.png"]),
        ("in/[0-4].*", ["in/2.png"]),
        ("in/??.png", ["in/10.png"]),
        ("in/de*", ["in/deep/er/3.png"]),
        ("./in/2*", ["./in/2.png"]),
        ("in/2.png", ["in/2.png"]),
    ],
)
def test_a_pattern_that_the_shell_left_alone_is_matched(pattern: str, found: list[str]) -> None:
    for name in ("2.png", "10.png", "2.txt", ".3.png", "deep/er/3.png"):
        written(f"in/{name}")
    assert names(pattern) == found
    assert names(str(Path.cwd() / pattern))[0].endswith(found[0].removeprefix("./"))


def test_names_with_signs_of_all_kinds_are_names() -> None:
    odd = ["a b.png", "a=b.png", "a[1].png", "new\nline.png", "ünï.png", "数字.png", "*.png"]
    odd += ["-x.png", "--json.png", "~x.png", "$(x).png", "'\".png"]
    for name in odd:
        written(f"in/{name}")
    assert sorted(names("in")) == sorted(f"in/{name}" for name in odd)
    assert names(*(f"in/{name}" for name in odd)) == [f"in/{name}" for name in odd]


def test_a_name_that_is_no_utf_8_is_found_and_can_be_printed() -> None:
    raw = os.fsdecode(b"in/caf\xe9.png")
    try:
        written(raw, saved(scene(), "PNG"))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert names("in") == [raw]
    assert pictures.read(raw, 3, SIZE).file == raw
    assert pictures.shown(raw) == r"in/caf\xe9.png"
    assert pictures.shown("ünï") == "ünï"


def test_home_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    written("home/a.png")
    monkeypatch.setenv("HOME", str(Path("home").resolve()))
    assert names("~/a.png") == names("~") == names("~/*.png") == [str(Path("home/a.png").resolve())]
    written("~/b.png")
    assert names("~") == ["~/b.png"]


def test_each_file_comes_once_where_it_was_named_first() -> None:
    for name in ("a", "b"):
        written(f"in/{name}.png")
    assert names("in/b.png", "in", "./in/a.png", "in/*.png") == ["in/b.png", "in/a.png"]
    Path("in/link.png").symlink_to("a.png")
    assert names("in") == ["in/a.png", "in/b.png", "in/link.png"]


@pytest.mark.parametrize("word", ["in", "in/**"])
def test_links_to_folders_are_followed_but_not_in_circles(word: str) -> None:
    written("in/a.png")
    written("other/b.png")
    Path("in/other").symlink_to("../other")
    Path("other/back").symlink_to("../in")
    found = names(word)
    assert sorted(Path(file).name for file in found) == ["a.png", "b.png"]


def test_words_that_name_no_image_are_told() -> None:
    Path("empty").mkdir()
    written("text/a.txt")
    written("a.png")
    words = ["no.png", "empty", "text", "text/*", "none/*.png", "a.png"]
    found, failed = pictures.find(words)
    assert found == ["a.png"]
    assert failed == [
        Failed("no.png", "no such file or folder"),
        Failed("empty", "no image in this folder"),
        Failed("text", "no image in this folder"),
        Failed("text/*", "no image is named so"),
        Failed("none/*.png", "no image is named so"),
    ]


def test_a_folder_that_cannot_be_listed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    written("in/a.png")
    written("in/shut/b.png")
    whole = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, failed = pictures.find(["in"])
    assert found == ["in/a.png"]
    assert failed == [Failed("in/shut", "cannot list it: Permission denied")]


@given(st.lists(st.text("aB1²٣.-0/ ", max_size=6)))
def test_any_names_can_be_sorted(texts: list[str]) -> None:
    numbers = sorted(texts, key=pictures.natural)
    assert sorted(numbers) == sorted(texts)
    assert pictures.natural("a2") < pictures.natural("a10") < pictures.natural("B1")


def test_files_come_in_order_in_batches_and_failures_in_their_place() -> None:
    files = [written(f"{number}.png", saved(scene(9 + number, 9), "PNG")) for number in range(7)]
    files[3] = written("3.png", b"text")
    found = list(pictures.batches(files, 3, SIZE, 3))
    assert [len(batch) for batch in found] == [3, 3, 1]
    flat = [one for batch in found for one in batch]
    assert [one.file for one in flat] == files
    assert flat[3] == Failed("3.png", "not an image")
    for one in flat[:3] + flat[4:]:
        assert isinstance(one, Picture)
        assert torch.equal(one.pixels, pictures.read(one.file, 3, SIZE).pixels)
    assert list(pictures.batches([], 3, SIZE, 3)) == []


def test_only_a_few_batches_are_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    read, lock = [], threading.Lock()

    def one(file: str, channels: int, size: int) -> Picture:
        with lock:
            read.append(file)
        return Picture(file, torch.zeros(channels, size, size, dtype=torch.uint8), None)

    monkeypatch.setattr(pictures, "read", one)
    coming = pictures.batches([str(number) for number in range(100)], 3, SIZE, 5)
    for number in range(1, 4):
        next(coming)
        time.sleep(0.05)
        assert 5 * number <= len(read) <= 5 * (number + pictures.AHEAD)
    coming.close()


def test_warnings_of_pil_are_no_lines_between_the_results() -> None:
    files = [written("bomb.png", png(10_000, 10_000)), written("a.png", saved(scene(), "PNG"))]
    before = warnings.filters[:]
    ((bomb, good),) = pictures.batches(files, 3, SIZE, 8)
    assert isinstance(bomb, Failed)
    assert bomb.reason.startswith("more than")
    assert isinstance(good, Picture)
    assert warnings.filters[:] == before
