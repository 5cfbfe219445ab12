from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from types import SimpleNamespace
from typing import Any

import pytest

from cnnctl.report import progress

WORDS = ["train", "trainer.max_epochs=2", "hardware=cpu"]
LINE = re.compile(
    r"epoch (\d)/2  step (20|40)  loss \d\.\d+ +top1 +\d+\.\d\d %  val/top1 +\d+\.\d\d % "
    r"\(best \d+\.\d\d %\)  [\d,]+ img/s  eta 0:00:0\d"
)
RECORD = {
    "epoch": 3, "step": 60, "train/loss": 0.81234, "train/top1": 0.7011, "val/top1": 0.713,
    "images_per_second": 1840.4,
}  # fmt: skip
PLAN: Any = SimpleNamespace(epochs=30, steps=600)


def on_a_terminal(*words: str, columns: int) -> tuple[int, bytes, bytes]:
    """Exit code, stdout, and what stderr writes to a terminal of this width."""
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("COLUMNS")
    child = subprocess.Popen(
        [sys.executable, "-m", "cnnctl", *words],
        stdout=subprocess.PIPE, stderr=terminal, stdin=terminal, env=environment,
    )  # fmt: skip
    os.close(terminal)
    seen = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data
    out, _ = child.communicate(timeout=60)
    os.close(master)
    return child.returncode, out, seen


def screen(written: str) -> list[str]:
    """What a terminal shows after what was written to it: rich moves up and erases lines."""
    rows, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif part == "\r":
            pass
        elif part.endswith("A") and part.startswith("\x1b"):
            row = max(0, row - int(part[2:-1] or 1))
        elif part == "\x1b[2K":
            rows[row] = ""
        elif not part.startswith("\x1b"):
            rows[row] += part
    while rows and not rows[-1]:
        rows.pop()
    return rows


def test_without_a_terminal_each_epoch_is_one_line_on_stderr(cnnctl) -> None:
    code, out, err = cnnctl(*WORDS, "--json")
    assert code == 0
    assert "\x1b" not in err
    assert "\r" not in err
    epochs = [LINE.fullmatch(line) for line in err.splitlines()[10:]]
    assert [match and match[1] for match in epochs] == ["1", "2"]
    assert "epoch 1/2" not in out


def test_progress_none_is_silent(cnnctl) -> None:
    err = cnnctl(*WORDS, "progress=none", "--json").err
    assert err.splitlines()[-1].startswith("run        outputs/train/")
    assert len(err.splitlines()) == 10


@pytest.mark.parametrize(
    ("columns", "pattern"),
    [
        (120, r"epoch [12]/2  step \d+ .* \(best +\d+\.\d\d %\) +[\d,]+ img/s"),
        (80, r"epoch [12]/2  loss \S+ +top1 +\d+\.\d\d %  val/top1 +\d+\.\d\d %"),
    ],
)
def test_the_bar_leaves_the_epoch_lines_and_a_clean_terminal(columns: int, pattern: str) -> None:
    code, out, seen = on_a_terminal(*WORDS, "--json", columns=columns)
    written = seen.decode()
    assert code == 0
    assert out.startswith(b'{\n  "schema": 1,')
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert re.search(r"epoch 1/2 .*step \d+/40 loss", written)
    shown = screen(written)
    assert [line.split()[0] for line in shown] == [
        "net", "data", "loading", "steps", "augment", "optimizer", "device", "memory", "seed",
        "run", "epoch", "epoch",
    ]  # fmt: skip
    assert all(re.fullmatch(pattern, line.rstrip()) for line in shown[-2:])
    assert max(map(len, shown)) <= columns


def test_an_error_leaves_a_clean_terminal_too() -> None:
    words = ["train", "trainer.max_epochs=2", "hardware=cpu", "optimizer=sgd", "optimizer.lr=1e9"]
    code, _, seen = on_a_terminal(*words, columns=100)
    written = seen.decode()
    assert code == 1
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    shown = [line for line in screen(written) if not line.startswith("epoch")]
    assert re.match(r"cnnctl: error: step \d+ \(epoch 1, batch \d+\): ", shown[10])
    assert "steps" not in shown[-1]


@pytest.mark.parametrize(
    ("mode", "terminal", "rank", "display"),
    [
        ("auto", True, 0, progress.LiveBar),
        ("auto", False, 0, progress.PlainLines),
        ("plain", True, 0, progress.PlainLines),
        ("rich", False, 0, progress.LiveBar),
        ("none", True, 0, None),
        ("plain", True, 1, None),
    ],
)
def test_the_display_depends_on_mode_terminal_and_rank(
    monkeypatch: pytest.MonkeyPatch, mode: str, *, terminal: bool, rank: int, display: type | None
) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    built = progress.build(mode, PLAN)
    assert [type(one) for one in built] == ([display] if display else [])


def test_an_epoch_in_one_line() -> None:
    assert progress.epoch_line(RECORD, PLAN, 0.72) == (
        "epoch  3/30  step  60  loss 0.8123    top1  70.11 %  "
        "val/top1  71.30 % (best 72.00 %)  1,840 img/s"
    )
    assert progress.short_line(RECORD, PLAN) == (
        "epoch  3/30  loss 0.8123    top1  70.11 %  val/top1  71.30 %"
    )


def test_an_epoch_is_told_by_the_figure_that_it_is_judged_by() -> None:
    of_masks = {**RECORD, "train/miou": 0.5, "val/miou": 0.25, "val/dice": 0.4}
    del of_masks["train/top1"], of_masks["val/top1"]
    assert progress.judged(RECORD) == "top1"
    assert progress.judged(of_masks) == "miou"
    assert progress.judged({"val/explained": -0.5, "val/mse": 1.0}) == "explained"
    assert progress.epoch_line(of_masks, PLAN, 0.3) == (
        "epoch  3/30  step  60  loss 0.8123    miou  50.00 %  "
        "val/miou  25.00 % (best 30.00 %)  1,840 img/s"
    )
    assert progress.short_line(of_masks, PLAN) == (
        "epoch  3/30  loss 0.8123    miou  50.00 %  val/miou  25.00 %"
    )
