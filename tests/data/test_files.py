from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.data import files
from cnnctl.data.files import Chained, Files, Names
from cnnctl.errors import DataError

NAMES = ["a/0.png", "", "b/été.jpg", "c/\udce9.gif", "d/图.webp"]  # \udce9: not UTF-8
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"])))


def made(root: Path, contents: dict[str, bytes]) -> Files:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return Files(root, Names.from_list(list(contents)))


def test_names_come_back_as_they_were() -> None:
    names = Names.from_list(NAMES)
    assert (len(names), list(names)) == (5, NAMES)
    assert [names[index] for index in range(5)] == NAMES


@settings(deadline=None)
@given(texts, texts)
def test_any_names_can_be_joined(first, second) -> None:
    joined = Names.joined([Names.from_list(first), Names.from_list(second)])
    assert list(joined) == first + second
    assert len(joined) == len(first) + len(second)


def test_nothing_joined_is_nothing() -> None:
    assert list(Names.joined([])) == list(Names.from_list([])) == []


@pytest.mark.parametrize("index", [-1, 5, 6])
def test_a_name_beyond_the_ends_is_an_error_and_not_another(index) -> None:
    with pytest.raises(IndexError):
        Names.from_list(NAMES)[index]


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (1, 3), (3, 100), (5, 9)])
def test_a_run_of_names_is_had_as_bytes(start, stop) -> None:
    found = Names.from_list(NAMES).encoded(start, stop)
    assert found == [os.fsencode(name) for name in NAMES[start:stop]]


def test_names_take_eight_bytes_more_than_their_letters_also_when_sent() -> None:
    names = Names.from_list([f"{number:08}" for number in range(10_000)])
    assert names.buffer.nbytes + names.offsets.nbytes == 10_000 * 16 + 8
    assert (names.buffer.dtype, names.offsets.dtype) == (np.uint8, np.int64)
    sent = pickle.dumps(names)
    assert len(sent) < 10_000 * 16 + 1000
    assert pickle.loads(sent)[77] == "00000077"  # noqa: S301 - just written


def test_files_are_read_and_named(tmp_path) -> None:
    found = made(tmp_path, {"a/0.png": b"one", "b.png": b"two"})
    assert (len(found), found[0], found[1]) == (2, b"one", b"two")
    assert found.name(1) == str(tmp_path / "b.png")


def test_files_may_be_anywhere(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    found = Files.of([tmp_path / "a", "a"])
    assert (found[0], found[1]) == (b"one", b"one")
    assert (found.name(0), found.name(1)) == (str(tmp_path / "a"), "a")


def test_an_absolute_name_is_not_looked_for_below_the_root(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    found = Files(tmp_path / "elsewhere", Names.from_list([str(tmp_path / "a")]))
    assert (found[0], found.name(0)) == (b"one", str(tmp_path / "a"))
    assert len(found.stamp()) == 64


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path) -> None:
    found = made(tmp_path, {"a.png": b"", "b.png": b""})
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").unlink()
    (tmp_path / "b.png").mkdir()
    for index, reason in enumerate(["No such file or directory", "Is a directory"]):
        with pytest.raises(DataError) as caught:
            found[index]
        assert str(caught.value) == f"cannot read image {found.name(index)}: {reason}"


def test_the_stamp_is_the_same_until_a_file_changes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "PART", 2)
    contents = {f"{number}.png": b"x" for number in range(5)}
    found = made(tmp_path, contents)
    before = found.stamp()
    assert len(before) == 64
    assert Files(tmp_path, Names.from_list(list(contents))).stamp() == before
    last = tmp_path / "4.png"
    times = (last.stat().st_atime_ns, last.stat().st_mtime_ns)
    last.write_bytes(b"xy")
    os.utime(last, ns=times)
    longer = found.stamp()
    last.write_bytes(b"y")
    os.utime(last, ns=(times[0], times[1] + 1))
    touched = found.stamp()
    assert len({before, longer, touched}) == 3
    last.write_bytes(b"z")
    os.utime(last, ns=times)  # as if nothing had happened; the time of this change remains
    assert found.stamp() not in {before, longer, touched}


def test_the_stamp_tells_names_and_their_order_apart(tmp_path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (0, 0))
    stamps = {
        Files(tmp_path, Names.from_list(names)).stamp()
        for names in (["a"], ["b"], ["a", "b"], ["b", "a"])
    }
    assert len(stamps) == 4


def test_the_stamp_names_a_file_that_is_gone(tmp_path) -> None:
    found = made(tmp_path, {"a.png": b"", "b.png": b""})
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError) as caught:
        found.stamp()
    text = f"cannot read image {tmp_path / 'b.png'}: No such file or directory"
    assert str(caught.value) == text


def test_chained_files_follow_each_other(tmp_path) -> None:
    first = made(tmp_path / "x", {"a": b"1", "b": b"2"})
    second = made(tmp_path / "y", {"c": b"3"})
    both = Chained(first, Files.of([]), second)
    assert len(both) == 3
    assert [both[index] for index in range(3)] == [b"1", b"2", b"3"]
    assert both.name(2) == second.name(0)
    for index in (-1, 3):
        with pytest.raises(IndexError):
            both[index]


def test_the_stamp_of_chained_files_changes_with_any_of_them(tmp_path) -> None:
    first, second = made(tmp_path, {"a": b"1"}), made(tmp_path, {"b": b"2"})
    both = Chained(first, second)
    before = both.stamp()
    assert before == Chained(first, second).stamp() != Chained(second, first).stamp()
    (tmp_path / "b").write_bytes(b"longer")
    assert both.stamp() != before
