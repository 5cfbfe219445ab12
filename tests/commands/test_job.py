"""A job in its run folder: what is written when, and what is said when a signal ends it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cnnctl import runs
from cnnctl.commands import job as jobs
from cnnctl.config import compose
from cnnctl.errors import CnnctlError, Stopped, TrainingError
from cnnctl.training.start import Job

WORDS = ("model=mlp", "model.hidden=[8]", "data.size=8", "hardware=cpu", "trainer.max_steps=1")
WRITTEN = [".lock", "checkpoints", "config.yaml", "plan.json", "split.json"]
Fit = Callable[..., dict[str, Any]]


@pytest.fixture
def ready() -> Job:
    """A job of one step."""
    with compose.opened():
        config, problems = compose.compose("train", [*WORDS, "progress=none"])
    assert problems == []
    return jobs.prepare(config, WORDS)


@pytest.fixture
def folder() -> Path:
    return runs.create("outputs", "train", "mlp", "digits")


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fit], None]:
    """Puts something in the place of training."""
    return lambda function: monkeypatch.setattr(jobs.trainer, "fit", function)


def several(job: Job) -> Job:
    """The same on two devices."""
    return job._replace(plan=replace(job.plan, device=replace(job.plan.device, devices=2)))


def inside(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_everything_is_written_before_the_first_step_and_the_result_last(
    ready, folder, fit, capfd
) -> None:
    seen: list[list[str]] = []

    def train(job: Job, run: Path, *_: Any) -> dict[str, Any]:
        assert (job, run) == (ready, folder)
        seen.append(inside(folder))
        return {"run": str(run)}

    fit(train)
    assert jobs.carry_out(ready, folder) == {"run": str(folder)}
    assert seen == [WRITTEN]
    assert json.loads((folder / runs.RESULT).read_text()) == {"run": str(folder)}
    assert runs.read_config(folder / runs.CONFIG) == ready.config
    plan = json.loads((folder / runs.PLAN).read_text())
    assert plan == json.loads(json.dumps({"run": str(folder), **ready.plan.document()}))
    assert json.loads((folder / runs.SPLIT).read_text()) == ready.source.cut()
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == f"run        {folder}"


def test_a_real_run_is_worked_off(ready, folder) -> None:
    result = jobs.carry_out(ready, folder)
    assert (result["steps"], result["run"]) == (1, str(folder))
    assert json.loads((folder / runs.RESULT).read_text()) == result


def test_a_run_that_is_extended_has_no_result_meanwhile(ready, folder, fit) -> None:
    (folder / runs.RESULT).write_text("{}")

    def train(*_: Any) -> dict[str, Any]:
        assert not (folder / runs.RESULT).exists()
        raise TrainingError("it failed")

    fit(train)
    with pytest.raises(TrainingError):
        jobs.carry_out(ready, folder)
    assert inside(folder) == WRITTEN


def test_a_run_is_locked_while_it_is_worked_off(ready, folder, fit, monkeypatch) -> None:
    held: list[Path] = []
    locked = runs.locked

    def noting(run: Path) -> Any:
        held.append(run)
        return locked(run)

    monkeypatch.setattr(runs, "locked", noting)
    fit(lambda *_: {"locked": list(map(str, held))})
    assert jobs.carry_out(ready, folder) == {"locked": [str(folder)]}


def test_other_processes_of_a_launcher_write_nothing(ready, folder, fit, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    fit(lambda *_: {"rank": 1})
    assert jobs.carry_out(several(ready), folder) == {"rank": 1}
    assert inside(folder) == ["checkpoints"]


def test_the_first_process_of_a_launcher_trains_itself(ready, folder, fit, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    fit(lambda *_: {"rank": 0})
    assert jobs.carry_out(several(ready), folder) == {"rank": 0}
    assert inside(folder) == sorted([*WRITTEN, "result.json"])


def test_several_devices_are_given_processes_and_the_result_is_theirs(
    ready, folder, fit, monkeypatch
) -> None:
    def start(run: Path, device: Any) -> int:
        assert (run, device.world) == (folder, 2)
        assert inside(folder) == WRITTEN
        runs.write_json(folder / runs.RESULT, {"steps": 1})
        return 0

    monkeypatch.setattr(jobs.ranks, "start", start)
    fit(lambda *_: pytest.fail("it trains in other processes"))
    assert jobs.carry_out(several(ready), folder) == {"steps": 1}


@pytest.mark.parametrize(
    ("code", "word"), [(130, "interrupted"), (143, "ended by SIGTERM"), (138, "ended by SIGUSR1")]
)
def test_processes_that_a_signal_ended_end_the_command(
    ready, folder, monkeypatch, code, word
) -> None:
    monkeypatch.setattr(jobs.ranks, "start", lambda *_: code)
    with pytest.raises(Stopped) as caught:
        jobs.carry_out(several(ready), folder)
    assert str(caught.value) == f"{word} (go on with: cnnctl train --resume {folder})"
    assert caught.value.exit_code == code


def stopped(*_: Any) -> dict[str, Any]:
    raise Stopped("ended by SIGUSR1 after step 1", "go on", int(signal.SIGUSR1))


@pytest.mark.parametrize("said", ["job 7 is back in the queue and will go on from here", None])
def test_a_job_goes_back_into_the_queue_once_its_run_is_saved(
    ready, folder, fit, monkeypatch, capfd, said
) -> None:
    signals: list[int] = []
    monkeypatch.setattr(jobs.slurm, "requeue", lambda number: signals.append(number) or said)
    fit(stopped)
    with pytest.raises(Stopped) as caught:
        jobs.work(ready, folder)
    assert caught.value.message == "ended by SIGUSR1 after step 1"
    assert signals == [signal.SIGUSR1]
    assert capfd.readouterr().err == (f"cnnctl: {said}\n" if said else "")
    assert inside(folder) == ["checkpoints"]


def test_a_run_that_fails_does_not_go_back(ready, folder, fit, monkeypatch) -> None:
    monkeypatch.setattr(jobs.slurm, "requeue", lambda _: pytest.fail("it would fail again"))

    def fail(*_: Any) -> dict[str, Any]:
        raise CnnctlError("it failed")

    fit(fail)
    with pytest.raises(CnnctlError, match="it failed"):
        jobs.work(ready, folder)


def test_a_run_of_slurm_is_remembered_before_it_begins(ready, folder, fit, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    fit(stopped)
    monkeypatch.setattr(jobs.slurm, "requeue", lambda _: None)
    with pytest.raises(Stopped):
        jobs.carry_out(ready, folder)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert jobs.slurm.earlier(folder.parent, ready.config) == folder
