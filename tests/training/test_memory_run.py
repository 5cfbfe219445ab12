"""What a run says of its memory."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
import pytorch_lightning as pl
from rich.console import Console

from cnnctl import runs
from cnnctl.commands import job as jobs
from cnnctl.report import console
from cnnctl.training import trainer
from cnnctl.training.memory import MemoryCheck

TINY = ("augment=none", "trainer.max_steps=2")


def view(result: dict[str, Any]) -> str:
    """What people read of a run."""
    written = StringIO()
    console.trained(Console(file=written, width=200, markup=False, highlight=False), result)
    return " ".join(written.getvalue().split())


def test_a_run_of_two_steps_shows_both_figures_and_the_error(train) -> None:
    job, _, result = train(*TINY, "model=mlp")
    assert result["memory"]["predicted"] == job.plan.memory["peak"]
    megabytes = f"{result['memory']['measured'] / 1e6:.0f} MB"
    assert f"memory predicted {megabytes} · measured {megabytes} · " in view(result)
    assert f"{100 * result['memory']['error']:+.2f} % weights" in view(result)


def test_a_run_of_one_step_measures_nothing_and_says_so(train) -> None:
    job, _, result = train("model=mlp", "trainer.max_steps=1")
    predicted = job.plan.memory["peak"]
    assert result["memory"] == {"predicted": predicted, "measured": None, "error": None}
    line = f"memory predicted {predicted / 1e6:.0f} MB · not measured: it takes a second step"
    assert line in view(result)


class Nothing(pl.Callback):
    """In its place, a callback that does nothing."""

    def beside(self, _: Any) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("overrides", [(), ("trainer.accumulate=2",)])
def test_the_weights_are_the_same_with_and_without_it(
    prepare, tmp_path, monkeypatch, overrides
) -> None:
    hashes = []
    for check in (MemoryCheck, Nothing):
        monkeypatch.setattr(trainer, "MemoryCheck", check)
        folder = runs.create(str(tmp_path / check.__name__), "train", "run")
        result = jobs.work(prepare("augment=shift", "trainer.max_steps=5", *overrides), folder)
        assert bool(result["memory"]) == (check is MemoryCheck)
        hashes.append(result["weights_sha256"])
    assert hashes[0] == hashes[1]


def test_nothing_is_said_on_stderr(train, capfd) -> None:
    for _ in range(2):
        train(*TINY, "model=mlp")
    assert capfd.readouterr().err == ""
