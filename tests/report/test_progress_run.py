"""What is said while a run goes on: notices, and displays of a run that was resumed."""

from __future__ import annotations

import io
import re
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import nn

from cnnctl.nets.net import Net
from cnnctl.report import progress
from cnnctl.report.progress import LiveBar, PlainLines
from cnnctl.tasks.classify import Classify
from cnnctl.training.callbacks import EpochRecord

PLAN: Any = SimpleNamespace(epochs=30, steps=600, global_batch=64)
NO_TASK: Any = None
RECORD = {
    "epoch": 3, "step": 60, "train/loss": 0.81234, "train/top1": 0.7011, "val/top1": 0.713,
    "images_per_second": 1840.4,
}  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time: clock(seconds)."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, 100.0 + seconds)


def at(step: int, *records: dict[str, float]) -> Any:
    """A trainer after so many steps, with the records of the epochs before."""
    kept = EpochRecord()
    kept.records = list(records)
    return SimpleNamespace(global_step=step, callbacks=[kept], current_epoch=len(records))


def bar(width: int = 120) -> tuple[LiveBar, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    return LiveBar(console, PLAN), file


def plain(written: str) -> str:
    """Without what moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", written)


def test_a_new_run_begins_without_a_word(capsys) -> None:
    PlainLines(PLAN).on_train_start(at(0), NO_TASK)
    assert capsys.readouterr() == ("", "")


def test_a_resumed_run_says_where_it_goes_on(capsys) -> None:
    PlainLines(PLAN).on_train_start(at(45, RECORD), NO_TASK)
    assert capsys.readouterr() == ("", "cnnctl: going on after step 45 of 600\n")


def test_a_bar_says_so_above_itself(capsys) -> None:
    display, file = bar()
    display.on_train_start(at(45, RECORD), NO_TASK)
    display.on_train_end(at(45), NO_TASK)
    assert "cnnctl: going on after step 45 of 600\n" in plain(file.getvalue())
    assert capsys.readouterr() == ("", "")


def test_the_best_epoch_may_have_been_before(capsys) -> None:
    display, trainer = PlainLines(PLAN), at(40, RECORD | {"val/top1": 0.9}, RECORD)
    display.on_train_start(trainer, NO_TASK)
    progress.record_of(trainer).records.append(RECORD)
    display.on_train_epoch_end(trainer, NO_TASK)
    assert "(best 90.00 %)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "step", "left"),
    [
        (0, 60, "0:01:30"),  # 10 s for 60 steps, 540 are left
        (40, 60, "0:04:30"),  # 10 s for 20 steps
        (60, 600, "0:00:00"),
        (60, 60, "?"),  # it was resumed behind the last step of an epoch
    ],
)
def test_the_time_left_goes_by_the_steps_since_it_was_resumed(clock, first, step, left) -> None:
    display = PlainLines(PLAN)
    clock(0)
    display.on_train_start(at(first), NO_TASK)
    clock(10)
    assert display.left(RECORD | {"step": step}) == left


@pytest.mark.parametrize(("first", "speed"), [(0, "384"), (40, "128")])
def test_a_bar_tells_the_speed_since_it_was_resumed(clock, first, speed) -> None:
    display, file = bar(200)
    clock(0)
    display.on_train_start(at(first), NO_TASK)
    clock(10)
    task = Classify(Net(OrderedDict(same=nn.Identity()), "torch"), 10)
    tally: Any = SimpleNamespace(sums=torch.tensor([30.0, 30.0, 50.0, 60.0]))
    task.tallies["train"] = tally
    display.on_train_batch_end(at(60), task, None, None, 0)
    display.on_train_end(at(60), NO_TASK)
    shown = plain(file.getvalue())
    assert f"loss 0.5  top1 50.00 %  {speed} img/s" in shown
    assert "step 60/600" in shown


def test_notices_go_to_stderr(capsys) -> None:
    every: list[list[pl.Callback]] = [[], [EpochRecord()], [PlainLines(PLAN)]]
    for displays in every:
        progress.notice(displays)("out of memory: [50] in pieces")
        assert capsys.readouterr() == ("", "cnnctl: out of memory: [50] in pieces\n")


def test_a_reader_that_has_gone_ends_no_training(monkeypatch) -> None:
    class Gone(io.StringIO):
        def write(self, *_: object) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(progress.sys, "stderr", Gone())
    display, trainer = PlainLines(PLAN), at(40, RECORD)
    display.on_train_start(trainer, NO_TASK)
    display.on_train_epoch_end(trainer, NO_TASK)
    for displays in ([], [display]):
        progress.notice(displays)("out of memory")


def test_only_the_first_process_gives_notice(monkeypatch, capsys) -> None:
    monkeypatch.setenv("RANK", "1")
    progress.notice([])("out of memory")
    assert capsys.readouterr() == ("", "")


def test_a_notice_stands_above_the_bar_as_it_is_written(capsys) -> None:
    display, file = bar()
    display.on_train_start(at(0), NO_TASK)
    progress.notice([EpochRecord(), display])("[bold]step 3[/bold]: 12 images")
    display.on_train_end(at(0), NO_TASK)
    assert "cnnctl: [bold]step 3[/bold]: 12 images\n" in plain(file.getvalue())
    assert capsys.readouterr() == ("", "")
