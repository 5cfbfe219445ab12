"""How the processes of a run end: by signals, by failures, one by one and all together."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stubs import start, wait, wait_gone

from cnnctl.errors import CnnctlError
from cnnctl.training import ranks

STUBBORN = "listen(signal.SIG_IGN)"


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "MASTER_", "LOCAL_", "NODE_RANK", ranks.STARTED)):
            monkeypatch.delenv(name)


@pytest.fixture
def meanwhile() -> Iterator[Callable[..., None]]:
    """Do something beside the main thread, which waits for the stubs."""
    threads: list[threading.Thread] = []

    def do(*steps: Callable[[], Any]) -> None:
        threads.append(threading.Thread(target=lambda: [step() for step in steps]))
        threads[-1].start()

    yield do
    for thread in threads:
        thread.join(30)


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def ready() -> None:
    wait("ready.0", "ready.1")


@pytest.mark.parametrize(
    ("codes", "worst"), [((0, 0), 0), ((0, 143), 143), ((130, 0), 130), ((143, 130), 143)]
)
def test_the_worst_exit_code_counts(codes, worst) -> None:
    assert start(f"sys.exit({list(codes)}[int(rank)])") == worst


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_the_first_signal_goes_to_all_which_save(meanwhile, number, code) -> None:
    meanwhile(ready, send(number))
    assert start("listen(save)") == code
    assert [Path(f"saved.{rank}").read_text() for rank in (0, 1)] == [str(int(number))] * 2


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGTERM, 130),
        (signal.SIGTERM, signal.SIGINT, 143),
    ],
)
def test_the_second_signal_ends_them_at_once(meanwhile, first, second, code) -> None:
    noted = "note('pid', str(os.getpid())); "
    meanwhile(ready, send(first), lambda: time.sleep(0.3), send(second))
    assert start(noted + STUBBORN) == code
    wait_gone(*(int(Path(f"pid.{rank}").read_text()) for rank in (0, 1)))


def test_slurms_sigterm_after_sigusr1_does_not_disturb_saving(meanwhile) -> None:
    slow = """
def slowly(number, frame):
    if not has("heard"):
        note("heard", str(number))
        until("enough")
        save(number)
listen(slowly)
"""
    after = [wait_heard, send(signal.SIGTERM), lambda: time.sleep(0.3), enough]
    meanwhile(ready, send(signal.SIGUSR1), *after)
    assert start(slow) == 138
    assert Path("saved.0").read_text() == Path("saved.1").read_text() == str(int(signal.SIGUSR1))


def wait_heard() -> None:
    wait("heard.0", "heard.1")


def enough() -> None:
    for number in (0, 1):
        Path(f"enough.{number}").touch()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_there_is_anything_to_save_ends_them(meanwhile, number, code) -> None:
    meanwhile(ready, send(number))
    assert start("listen(signal.SIG_DFL)") == code


def test_one_that_is_not_ready_for_a_signal_does_not_let_the_other_wait(meanwhile) -> None:
    meanwhile(ready, send(signal.SIGTERM))
    assert start("listen(signal.SIG_DFL if rank == '1' else signal.SIG_IGN)") == 143


def test_a_failure_ends_the_others() -> None:
    code = "if rank == '1': until('ready'); sys.exit(1)\n"
    waits = "note('pid', str(os.getpid())); open('ready.1', 'w').close(); " + STUBBORN
    with pytest.raises(CnnctlError) as caught:
        start(code + waits)
    assert str(caught.value) == "a process of the run failed (see the lines above; run folder: run)"
    wait_gone(int(Path("pid.0").read_text()))


def test_a_killed_process_ends_the_others_and_their_loaders(meanwhile) -> None:
    loader = "note('loader', str(os.fork() or time.sleep(60)))\n"

    def kill() -> None:
        os.kill(int(Path("pid.1").read_text()), signal.SIGKILL)

    meanwhile(ready, kill)
    with pytest.raises(CnnctlError) as caught:
        start("note('pid', str(os.getpid()))\n" + loader + STUBBORN)
    assert str(caught.value) == (
        "process 1 of the run was ended by SIGKILL (often for want of memory; run folder: run)"
    )
    noted = [Path(f"{name}.{rank}").read_text() for name in ("pid", "loader") for rank in (0, 1)]
    wait_gone(*map(int, noted))


def test_a_failure_while_the_others_save_is_told(meanwhile) -> None:
    fails = "listen(save if rank == '0' else lambda *_: (until('late'), sys.exit(1)))"
    meanwhile(ready, send(signal.SIGTERM), lambda: wait("saved.0"), Path("late.1").touch)
    with pytest.raises(CnnctlError, match="a process of the run failed"):
        start(fails)


def test_handlers_are_put_back_and_ignored_signals_stay_ignored(meanwhile) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    kept = [signal.getsignal(name) for name in ranks.STOPS]
    meanwhile(ready, send(signal.SIGUSR1), lambda: time.sleep(0.2), send(signal.SIGTERM))
    try:
        assert start("listen(save)") == 143
        assert Path("saved.0").read_text() == str(int(signal.SIGTERM))
        assert [signal.getsignal(name) for name in ranks.STOPS] == kept
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_thread_can_start_a_run(meanwhile) -> None:
    codes: list[int] = []
    meanwhile(lambda: codes.append(start("pass")), lambda: Path("done.0").touch())
    wait("done.0")
    assert codes == [0]
