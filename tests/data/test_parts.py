from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from cnnctl.data import parts


def workers(monkeypatch, seconds: float, cores: int = 3) -> set[int]:
    """The threads that have worked, if the first part takes so long."""
    clock = iter([0.0, seconds])
    monkeypatch.setattr(parts, "time", SimpleNamespace(perf_counter=clock.__next__))
    monkeypatch.setattr(parts.os, "cpu_count", lambda: cores)
    seen = set()

    def work(start: int) -> int:
        seen.add(threading.get_ident())
        time.sleep(0.01)
        return start

    assert list(parts.run(work, range(0, 100, 10))) == list(range(0, 100, 10))
    return seen - {threading.get_ident()}


@pytest.mark.parametrize(("seconds", "threads"), [(0.0019, 1), (0.0021, 3), (10, 3)])
def test_small_files_are_decoded_by_one_thread(monkeypatch, seconds, threads) -> None:
    assert len(workers(monkeypatch, seconds)) == threads


def test_what_was_found_comes_in_order() -> None:
    def work(start: int) -> str:
        time.sleep(0.02 if start == 0 else 0)
        return f"from {start}"

    assert list(parts.run(work, range(0, 7, 3))) == ["from 0", "from 3", "from 6"]


@pytest.mark.parametrize("images", [0, 1])
def test_nothing_or_one_part_needs_no_others(images) -> None:
    assert list(parts.run(lambda start: start, range(0, images, 8))) == [0] * images


@pytest.mark.parametrize("start", [0, 4])
def test_an_error_comes_through(start) -> None:
    def work(number: int) -> int:
        if number == start:
            raise OSError("disk full")
        return number

    with pytest.raises(OSError, match="disk full"):
        list(parts.run(work, range(0, 8, 2)))
