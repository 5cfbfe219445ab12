from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cnnctl.data.inside import Places, reason, stamp, unreadable
from cnnctl.errors import DataError


class Lines(Places):
    """One image in each line, with the number of its first byte."""

    def _read(self, file: str, *place: int) -> bytes:
        data = Path(file).read_bytes()
        if place[0] >= len(data):
            raise ValueError("it ends early")
        return data[place[0] :].partition(b"\n")[0]


@pytest.fixture
def lines(tmp_path) -> Lines:
    for name in "ab":
        (tmp_path / name).write_bytes(b"one\ntwo\n")
    return Lines([tmp_path / "a", tmp_path / "b"], [(0, 0), (1, 4), (0, 99)])


def test_an_image_is_read_from_its_place(lines, tmp_path) -> None:
    assert (len(lines), lines[0], lines[1]) == (3, b"one", b"two")
    assert lines.name(1) == f"{tmp_path}/b/4"


def test_a_place_that_cannot_be_read_is_named(lines, tmp_path) -> None:
    with pytest.raises(DataError) as caught:
        lines[2]
    assert str(caught.value) == f"cannot read image {tmp_path}/a/99: it ends early"
    (tmp_path / "b").unlink()
    with pytest.raises(DataError, match="b/4: No such file or directory"):
        lines[1]
    with pytest.raises(DataError, match=r"cannot read .*b: No such file or directory"):
        lines.stamp()


def test_a_stamp_changes_with_every_file_even_if_its_time_is_set_back(lines, tmp_path) -> None:
    before = lines.stamp()
    assert lines.stamp() == before
    file = tmp_path / "b"
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    file.write_bytes(b"two\none\n")
    os.utime(file, ns=times)
    assert lines.stamp() != before


def test_all_files_count_also_where_no_place_names_them(tmp_path) -> None:
    files = [tmp_path / name for name in "abc"]
    for file in files:
        file.write_bytes(b"x")
    table = np.zeros((1, 2), np.int64)
    before = stamp([str(file) for file in files], table)
    files[2].write_bytes(b"xy")
    assert stamp([str(file) for file in files], table) != before


@pytest.mark.parametrize(
    ("wrong", "text"),
    [(OSError(13, "Permission denied"), "Permission denied"), (ValueError("a\nb"), "a"),
     (ValueError(), "ValueError")],
)  # fmt: skip
def test_a_reason_is_one_line(wrong, text) -> None:
    assert reason(wrong) == text
    assert text in unreadable(Path("x"), wrong).message
