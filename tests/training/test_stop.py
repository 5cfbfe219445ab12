from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl

from cnnctl import runs, weights
from cnnctl.errors import Stopped
from cnnctl.training import trainer
from cnnctl.training.stop import Stop
from cnnctl.training.trainer import SIGNALS

HINT = "go on with: cnnctl train --resume r"
INT, TERM = signal.SIGINT, signal.SIGTERM


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def stop() -> Stop:
    return Stop(SIGNALS, HINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_steps_are_made_a_signal_waits(stop, number) -> None:
    with stop.listening():
        stop.waits = True
        assert stop.caught == 0
        send(number)
        assert stop.caught == number
    assert not stop.waits


@pytest.mark.parametrize(
    ("number", "text", "code"), [(INT, "interrupted", 130), (TERM, "ended by SIGTERM", 143)]
)
def test_at_other_times_it_ends_the_run_at_once(stop, number, text, code) -> None:
    with pytest.raises(Stopped) as caught, stop.listening():
        send(number)
    assert str(caught.value) == f"{text} ({HINT})"
    assert caught.value.exit_code == code
    assert stop.caught == 0


def test_what_ends_a_run_after_a_step_says_so(stop) -> None:
    error = stop.error(TERM, " after step 7")
    assert str(error) == f"ended by SIGTERM after step 7 ({HINT})"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (str(again), again.exit_code) == (str(error), 143)


def test_a_second_interrupt_does_not_wait(stop) -> None:
    with stop.listening():
        stop.waits = True
        send(INT)
        with pytest.raises((KeyboardInterrupt, Stopped)):
            send(INT)
        assert stop.caught == INT


@pytest.mark.parametrize(("first", "second"), [(TERM, TERM), (INT, TERM)])
def test_a_second_sigterm_changes_nothing(stop, first, second) -> None:
    """A scheduler sends it to a process that is saving already."""
    with stop.listening():
        stop.waits = True
        send(first)
        send(second)
        assert stop.caught == first


def test_handlers_are_put_back_whatever_happens(stop) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stop.listening():
        assert signal.getsignal(INT) not in before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with pytest.raises(ValueError, match="no luck"), stop.listening():
        raise ValueError("no luck")
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with pytest.raises(KeyboardInterrupt):
        send(INT)


def test_a_thread_that_gets_no_signals_trains_all_the_same(stop) -> None:
    found: list[Any] = []

    def work() -> None:
        with stop.listening():
            found.append([signal.getsignal(number) for number in SIGNALS])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[signal.getsignal(number) for number in SIGNALS]]


class Sends(pl.Callback):
    """Sends signals before a list of batches."""

    def __init__(self, before: int, *numbers: int) -> None:
        self.before = before
        self.numbers = numbers
        self.steps: list[int] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.steps.append(trainer.global_step)
        if len(self.steps) == self.before:
            for number in self.numbers:
                send(number)


Fit = Callable[..., tuple[int, int]]


@pytest.fixture
def ended(prepare, tmp_path) -> Fit:
    """The exit code of a run that gets signals, and the step of the checkpoint that it leaves."""

    def fit(callback: Sends, *overrides: str) -> tuple[int, int]:
        job = prepare("model=mlp", "model.hidden=[4]", *overrides)
        folder = runs.create(str(tmp_path / "outputs"), "train", "run")
        before = [signal.getsignal(number) for number in SIGNALS]
        with pytest.raises(Stopped) as caught:
            trainer.fit(job, folder, [callback])
        assert [signal.getsignal(number) for number in SIGNALS] == before
        last = weights.content(folder / "checkpoints/last.ckpt")
        told = f"after step {last['global_step']} (go on with: cnnctl train --resume {folder})"
        assert str(caught.value).endswith(told)
        assert not (folder / "result.json").exists()
        return caught.value.exit_code, last["global_step"]

    return fit


@pytest.mark.parametrize(("number", "code"), [(INT, 130), (TERM, 143)])
def test_a_run_ends_after_its_step_with_a_checkpoint(ended, number, code) -> None:
    assert ended(Sends(2, number)) == (code, 2)


@pytest.mark.parametrize(("number", "code"), [(INT, 130), (TERM, 143)])
@pytest.mark.parametrize("before", [4, 5, 6])
def test_a_step_of_several_batches_is_finished_first(ended, number, code, before) -> None:
    assert ended(Sends(before, number), "trainer.accumulate=3") == (code, 2)


def test_a_user_who_asks_twice_is_not_kept_waiting(prepare, tmp_path) -> None:
    folder = runs.create(str(tmp_path / "outputs"), "train", "run")
    with pytest.raises(Stopped) as caught:
        trainer.fit(prepare("model=mlp"), folder, [Sends(2, INT, INT)])
    assert caught.value.exit_code == 130
