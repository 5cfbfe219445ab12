from __future__ import annotations

import errno
from pathlib import Path

import pytest

from cnnctl.data import places
from cnnctl.data.places import cache_dir, write


@pytest.fixture(autouse=True)
def unset(monkeypatch) -> None:
    for name in ("CNNCTL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_without_any_variable_it_is_below_the_home_folder(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert cache_dir() == Path("/home/ada/.cache/cnnctl")


def test_the_desktop_standard_is_followed(monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert cache_dir() == Path("/fast/cnnctl")


def test_the_own_variable_wins_and_may_hold_a_tilde(monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    monkeypatch.setenv("CNNCTL_CACHE", "~/kept")
    monkeypatch.setenv("HOME", "/home/ada")
    assert cache_dir() == Path("/home/ada/kept")


def test_an_empty_variable_counts_as_none(monkeypatch) -> None:
    monkeypatch.setenv("CNNCTL_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/ada")
    assert cache_dir() == Path("/home/ada/.cache/cnnctl")


def test_a_relative_folder_is_taken_from_where_the_command_was_started(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("CNNCTL_CACHE", "kept")
    assert cache_dir() == tmp_path / "kept"
    assert not (tmp_path / "kept").exists()


def test_a_file_is_written_whole_and_makes_its_folder(tmp_path) -> None:
    file = tmp_path / "a" / "b" / "x.json"
    for data in (b"first", b"second, longer"):
        write(file, data)
        assert file.read_bytes() == data
    assert [path.name for path in file.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch, name) -> None:
    file = tmp_path / "x.json"
    write(file, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((places.os, name) if name == "fsync" else (Path, name)), full)
    with pytest.raises(OSError, match="No space left"):
        write(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.glob("*x*")] == ["x.json"]
    assert not list(tmp_path.glob(".*"))


def test_a_file_may_be_read_by_whom_the_mask_allows(tmp_path) -> None:
    (tmp_path / "as usual").write_bytes(b"")
    write(tmp_path / "x.json", b"{}")
    assert (tmp_path / "x.json").stat().st_mode == (tmp_path / "as usual").stat().st_mode
