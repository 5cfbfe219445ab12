from __future__ import annotations

from pathlib import Path

import pytest

from cnnctl.data.places import cache_dir


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
