"""What cnnctl.report.progress shows while images are read, before there is a plan."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from cnnctl.report import progress


class Terminal(io.StringIO):
    """As rich sees a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> Callable[[float], None]:
    """Sets the time: clock(seconds)."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, 100.0 + seconds)


@pytest.fixture
def stderr(monkeypatch) -> Callable[[bool], io.StringIO]:
    """Puts a pipe or a terminal in the place of stderr."""

    def put(terminal: bool) -> io.StringIO:  # noqa: FBT001 - a parameter of the tests
        stream = Terminal() if terminal else io.StringIO()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return put


@pytest.mark.parametrize("mode", ["auto", "rich", "plain", "none"])
@pytest.mark.parametrize("terminal", [True, False])
def test_less_than_half_a_second_is_not_worth_a_word(clock, stderr, mode, terminal) -> None:
    stream = stderr(terminal)
    with progress.reading(mode) as tell:
        for tenths in range(5):
            clock(tenths / 10)
            tell("decoding", tenths, 5)
        clock(40)  # nothing more is told at the end
    assert stream.getvalue() == ""


@pytest.mark.parametrize("mode", ["auto", "plain"])
def test_a_pipe_gets_a_line_at_most_every_ten_seconds(clock, stderr, mode) -> None:
    stream = stderr(terminal=False)
    with progress.reading(mode) as tell:
        for second in range(36):
            clock(second)
            tell("decoding", 1000 * second, 35_000)
    assert stream.getvalue().splitlines() == [
        f"decoding {second},000 of 35,000 images" for second in (11, 22, 33)
    ]


def test_plain_lines_may_be_had_on_a_terminal(clock, stderr) -> None:
    stream = stderr(terminal=True)
    with progress.reading("plain") as tell:
        clock(11)
        tell("checking", 3, 9)
    assert stream.getvalue() == "checking 3 of 9 images\n"


@pytest.mark.parametrize("mode", ["auto", "rich"])
def test_a_terminal_gets_a_bar_that_leaves_nothing_behind(clock, stderr, mode) -> None:
    stream = stderr(terminal=True)
    with progress.reading(mode) as tell:
        clock(0.6)
        tell("decoding", 1, 4)
        tell("decoding", 4, 4)
        tell("checking", 2, 7)
    written = stream.getvalue()
    assert "4/4 images" in written
    assert "checking" in written
    assert "2/7 images" in written
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # the cursor is back
    assert written.rstrip().endswith("\x1b[2K")  # and the lines of the bar are erased


def _fail(clock: Callable[[float], None], tell: Callable[[str, int, int], None]) -> None:
    clock(1)
    tell("decoding", 1, 4)
    raise KeyError("broken")


def test_an_error_takes_the_bar_away(clock, stderr) -> None:
    stream = stderr(terminal=True)
    with pytest.raises(KeyError, match="broken"), progress.reading("auto") as tell:
        _fail(clock, tell)
    assert stream.getvalue().count("\x1b[?25h") == 1


@pytest.mark.parametrize(("mode", "rank"), [("none", 0), ("rich", 1), ("plain", 1)])
@pytest.mark.parametrize("terminal", [True, False])
def test_silence_is_kept(clock, stderr, monkeypatch, mode, rank, terminal) -> None:
    monkeypatch.setenv("RANK", str(rank))
    stream = stderr(terminal)
    with progress.reading(mode) as tell:
        for second in range(30):
            clock(second)
            tell("decoding", second, 30)
    assert stream.getvalue() == ""


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(clock, stderr, monkeypatch) -> None:
    stream = stderr(terminal=True)
    monkeypatch.setenv("TERM", "dumb")
    with progress.reading("auto") as tell:
        clock(12)
        tell("decoding", 1, 4)
    assert stream.getvalue() == "decoding 1 of 4 images\n"
