from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cnnctl.config.duration import Interval
from cnnctl.data.order import Ticket
from cnnctl.errors import DataError, Stopped
from cnnctl.tasks.classify import Classify
from cnnctl.training import checkpoints as module
from cnnctl.training.checkpoints import Checkpoints
from cnnctl.training.stop import Stop

NEVER = Interval.parse("1000h")
MLP = ("model=mlp", "model.hidden=[4]")


class Saver:
    """As much of a Trainer as Checkpoints uses; a checkpoint is the number of its step."""

    def __init__(self) -> None:
        self.is_global_zero = self.training = True
        self.strategy: Any = SimpleNamespace(barrier=lambda: None, broadcast=lambda value: value)
        self.world_size = 1
        self.current_epoch = self.global_step = 0
        self.saved: list[int] = []

    def save_checkpoint(self, file: Path, *, weights_only: bool) -> None:
        assert not weights_only
        file.unlink(missing_ok=True)
        file.write_text(str(self.global_step))
        self.saved.append(self.global_step)


class Made:
    """Checkpoints at work, driven by hand."""

    def __init__(self, folder: Path, every: str | Interval) -> None:
        self.trainer, self.task = Saver(), Classify(torch.nn.Identity(), 2)  # pyright: ignore[reportArgumentType]
        interval = Interval.parse(every) if isinstance(every, str) else every
        self.stop = Stop((), "resume")
        self.own = Checkpoints(folder, "{}", interval, self.stop)
        self.own.on_train_start(*self.both)

    @property
    def both(self) -> Any:
        return self.trainer, self.task

    def batch(self, steps: int = 1) -> None:
        """A list of batches."""
        self.trainer.global_step += steps
        self.own.on_train_batch_end(*self.both, None, [], 0)

    def measure(self) -> None:
        """Validation."""
        self.own.on_validation_start(*self.both)
        self.own.on_validation_batch_end(*self.both, None, None, 0)
        self.own.on_validation_end(*self.both)

    def over(self, top1: float = 0.5, loss: float = 1.0) -> None:
        """The end of an epoch."""
        self.task.figures["val"] = {"top1": top1, "loss": loss}
        self.own.on_train_epoch_end(*self.both)
        self.trainer.current_epoch += 1

    @property
    def saved(self) -> list[int]:
        return self.trainer.saved

    def best(self) -> str:
        return (self.own.folder / "best.ckpt").read_text()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("lists", "saved"),
    [([1] * 10, [3, 6, 9]), ([1, 1, 3, 3, 2], [5, 8]), ([2, 2, 2], [4]), ([1, 2, 3], [3, 6])],
)
def test_every_so_many_steps(tmp_path, lists, saved) -> None:
    made = Made(tmp_path, "3steps")
    for steps in lists:
        made.batch(steps)
    assert made.saved == saved


def test_every_so_many_seconds(tmp_path, clock) -> None:
    made = Made(tmp_path, "2min")
    for seconds in (50, 69, 1, 60, 59, 1, 500, 1):
        clock[0] += seconds
        made.batch()
    assert made.saved == [3, 6, 7]


def test_every_so_many_epochs(tmp_path) -> None:
    made = Made(tmp_path, "2epochs")
    made.own.measuring = 0.0
    made.over(0.9)
    made.trainer.saved.clear()
    for _ in range(5):
        made.batch()
        made.over(0.1)
    assert made.saved == [2, 4]
    made.own.on_train_end(*made.both)
    assert made.saved == [2, 4, 5]


def test_the_last_weights_are_saved_once(tmp_path) -> None:
    made = Made(tmp_path, "1epoch")
    made.batch()
    made.over()
    made.own.on_train_end(*made.both)
    assert made.saved == [1]
    assert not made.stop.waits


def test_a_resumed_run_counts_from_where_it_goes_on(tmp_path) -> None:
    made = Made(tmp_path, "3steps")
    made.trainer.global_step = 7
    made.own.on_train_start(*made.both)
    for _ in range(4):
        made.batch()
    assert made.saved == [10]


@pytest.mark.parametrize(("seconds", "saved"), [(11, [1, 2, 3]), (9, [1])])
def test_a_long_measurement_is_saved_before(tmp_path, clock, seconds, saved) -> None:
    """The first one may be long, too."""
    made = Made(tmp_path, NEVER)
    for _ in range(3):
        made.batch()
        made.own.on_validation_start(*made.both)
        clock[0] += seconds
        made.own.on_validation_end(*made.both)
    assert made.saved == saved


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(0.5, 1), (0.6, 2), (0.4, 0.1)], "122"),
        ([(0.5, 1), (0.5, 0.9), (0.5, 0.9), (0.5, 0.8)], "1224"),
        ([(0.0, 9), (0.0, 9)], "11"),
        ([(0.5, 1), (0.5, 1.1), (0.51, 3)], "113"),
    ],
)
def test_best_is_by_top1_and_then_by_loss(tmp_path, figures, best) -> None:
    made = Made(tmp_path, NEVER)
    found = []
    for top1, loss in figures:
        made.batch()
        made.over(top1, loss)
        found.append(made.best())
    assert found == list(best)


def test_the_best_so_far_is_remembered_in_a_checkpoint(tmp_path) -> None:
    first, second = Made(tmp_path, NEVER), Made(tmp_path, NEVER)
    first.batch()
    first.over(0.7)
    second.own.load_state_dict(first.own.state_dict())
    for number, (top1, best) in enumerate([(0.6, "1"), (0.8, "3")], start=2):
        second.trainer.global_step = number
        second.over(top1)
        assert second.best() == best


def test_best_is_another_name_of_the_checkpoint(tmp_path) -> None:
    made = Made(tmp_path, NEVER)
    made.batch()
    made.over()
    assert (tmp_path / "best.ckpt").samefile(tmp_path / "last.ckpt")


@pytest.mark.parametrize("rank", [0, 1])
def test_one_process_alone_names_the_best(tmp_path, rank) -> None:
    made = Made(tmp_path, NEVER)
    made.trainer.is_global_zero = rank == 0
    made.batch()
    made.over()
    assert (tmp_path / "best.ckpt").exists() == (rank == 0)


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path, number, code) -> None:
    made = Made(tmp_path, NEVER)
    made.batch()
    made.stop.caught = number
    with pytest.raises(Stopped, match="after step 2") as caught:
        made.batch()
    assert (made.saved, caught.value.exit_code) == ([2], code)


def test_a_signal_within_a_step_of_several_batches_waits_for_it(tmp_path) -> None:
    made = Made(tmp_path, "1steps")
    made.stop.caught = 2
    made.task.gradient.parts = [Ticket(None, 0)]  # pyright: ignore[reportArgumentType]
    made.batch(0)
    assert made.saved == []
    made.task.gradient.parts = []
    with pytest.raises(Stopped):
        made.batch()
    assert made.saved == [1]


def test_a_signal_at_the_end_of_an_epoch_keeps_its_best(tmp_path) -> None:
    made = Made(tmp_path, NEVER)
    made.batch()
    made.stop.caught = 15
    with pytest.raises(Stopped):
        made.over()
    assert (made.saved, made.best()) == ([1], "1")


@pytest.mark.parametrize(("seconds", "ends"), [(60, True), (1, False)])
def test_nobody_waits_for_the_end_of_a_long_measurement(tmp_path, clock, seconds, ends) -> None:
    made = Made(tmp_path, NEVER)
    made.batch()
    made.own.on_validation_start(*made.both)
    clock[0] += seconds
    made.own.on_validation_end(*made.both)
    made.stop.caught = 2
    made.trainer.global_step += 1
    if not ends:
        made.measure()
        return
    with pytest.raises(Stopped):
        made.measure()
    assert made.saved[-1] == 2


def test_images_that_cannot_be_read_take_no_step_away(tmp_path) -> None:
    for exception, saved in ((DataError("cannot read x.png"), [1]), (RuntimeError("no luck"), [])):
        made = Made(tmp_path, NEVER)
        made.batch()
        made.own.on_exception(*made.both, exception)
        assert made.saved == saved
    made = Made(tmp_path, NEVER)
    made.own.on_exception(*made.both, DataError("cannot read x.png"))
    assert made.saved == []  # nothing new
