"""A signal, wherever it comes, ends a run that then goes on to the same bits."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from resumed import BATCH_NORM, FIRST_IS_BEST, MLP, RARELY, fitted, told

from cnnctl import runs
from cnnctl.errors import Stopped
from cnnctl.training import trainer
from cnnctl.training.store import VerifiedIO


class Signal(pl.Callback):
    """Sends signals to this process, in a hook, once so many steps are made."""

    def __init__(self, number: int, hook: str, step: int, *, times: int = 1) -> None:
        self.step = step
        self.number = number
        self.times = times
        setattr(self, hook, self.send)

    def send(self, trainer: pl.Trainer, *_: Any) -> None:
        while self.times and trainer.global_step >= self.step:
            self.times -= 1
            os.kill(os.getpid(), self.number)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return runs.create(str(tmp_path / "outputs"), "train", "run")


@pytest.mark.parametrize(
    ("hook", "step", "overrides"),
    [
        ("on_train_start", 0, ()),
        ("on_train_batch_start", 0, ("augment=mixup",)),
        ("on_train_batch_end", 4, ("trainer.accumulate=2", "data.batch_size=250")),
        ("on_validation_batch_end", 3, ()),
        ("on_validation_batch_end", 6, ()),
        ("on_validation_start", 9, ()),
        ("on_train_epoch_end", 6, ()),
        ("on_train_epoch_end", 9, ()),
        ("on_train_end", 9, ()),
        ("on_test_batch_start", 9, ()),
        ("on_test_end", 9, ()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_that_then_goes_on_to_the_same_bits(
    prepare, folder, hook, step, overrides, number
) -> None:
    job = prepare(*BATCH_NORM, RARELY, *overrides)
    expected = fitted(job, folder)
    run = runs.create(str(folder.parent), "train", "ended")
    with pytest.raises(Stopped) as ended:
        trainer.fit(job, run, [Signal(number, hook, step)])
    assert ended.value.exit_code == 128 + number
    assert ended.value.hint == f"go on with: cnnctl train --resume {run}"
    result = trainer.fit(job, run, [])
    assert told(run, result) == expected
    assert all(after >= step for after in result["resumed"])


def test_a_second_ctrl_c_does_not_wait(prepare, folder) -> None:
    with pytest.raises(Stopped) as ended:
        trainer.fit(
            prepare(*MLP), folder, [Signal(signal.SIGINT, "on_train_batch_start", 4, times=2)]
        )
    assert ended.value.exit_code == 130


def test_a_signal_while_the_last_weights_are_saved_is_not_lost(
    prepare, folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepare(*MLP, RARELY, "optimizer=sgd", *FIRST_IS_BEST)
    expected = fitted(job, folder)
    assert expected["best"]["epoch"] < 3  # or there is nothing to save at the end
    run = runs.create(str(folder.parent), "train", "ended")
    save = VerifiedIO.save_checkpoint

    def signalled(self: VerifiedIO, checkpoint: dict[str, Any], path: Path, **more: Any) -> None:
        if checkpoint["global_step"] == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        save(self, checkpoint, path, **more)

    monkeypatch.setattr(VerifiedIO, "save_checkpoint", signalled)
    with pytest.raises(Stopped):
        trainer.fit(job, run, [])
    monkeypatch.undo()
    assert fitted(job, run) == expected
