"""Jobs that go back into the queue."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cnnctl.training import slurm

BATCH = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train.sh"}
ARRAY = {**BATCH, "SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "3"}
RUNNING = "JobId=4711 JobName=x JobState=RUNNING PreemptEligibleTime=2026-11-21 PreemptTime={}"


@pytest.fixture
def within(monkeypatch):
    def set_all(variables: dict[str, str], **more: str) -> None:
        for name, value in (variables | more).items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch):
    """A program of this name that notes its words, prints and ends as it is told."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"

    def make(shown: str = "", code: int = 0, complaint: str = "") -> Path:
        folder.mkdir()
        program = folder / "scontrol"
        lines = ["#!/bin/sh", f'echo "$@" >> {calls}', f"echo '{shown}'"]
        program.write_text("\n".join([*lines, f"printf '{complaint}' >&2", f"exit {code}\n"]))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        return calls

    return make


@pytest.mark.parametrize(("variables", "number"), [(BATCH, "4711"), (ARRAY, "4700_3")])
def test_sigusr1_puts_the_job_back(within, scontrol, variables, number) -> None:
    within(variables)
    calls = scontrol()
    said = slurm.requeue(signal.SIGUSR1)
    assert said == f"job {number} is back in the queue and will go on from here"
    assert calls.read_text() == f"requeue {number}\n"


def test_sigterm_puts_a_pre_empted_job_back(within, scontrol) -> None:
    within(BATCH)
    calls = scontrol(RUNNING.format("2026-11-21T14:03:19"))
    assert slurm.requeue(signal.SIGTERM) == "job 4711 is back in the queue and will go on from here"
    assert calls.read_text() == "--oneliner show job 4711\nrequeue 4711\n"


@pytest.mark.parametrize("shown", [RUNNING.format("None"), "JobState=CANCELLED", ""])
def test_a_cancelled_job_stays_cancelled(within, scontrol, shown) -> None:
    within(BATCH)
    calls = scontrol(shown)
    said = slurm.requeue(signal.SIGTERM)
    assert said == "job 4711 was not pre-empted, so it is not put back into the queue"
    assert "requeue" not in calls.read_text()


@pytest.mark.parametrize(
    ("variables", "signum"),
    [
        ({}, signal.SIGUSR1),
        ({}, signal.SIGTERM),
        ({**BATCH, "SLURM_JOB_NAME": "bash"}, signal.SIGUSR1),
        (BATCH, signal.SIGINT),
        ({**BATCH, "RANK": "1"}, signal.SIGUSR1),
    ],
)
def test_nothing_is_put_back_without_a_job_or_a_reason(within, scontrol, variables, signum) -> None:
    within(variables)
    calls = scontrol()
    assert slurm.requeue(signum) is None
    assert not calls.exists()


def test_the_first_of_several_processes_puts_the_job_back(within, scontrol) -> None:
    within(BATCH, RANK="0", WORLD_SIZE="2")
    calls = scontrol()
    assert slurm.requeue(signal.SIGUSR1) is not None
    assert calls.read_text() == "requeue 4711\n"


def test_what_slurm_refuses_is_said_in_one_line(within, scontrol) -> None:
    within(BATCH)
    scontrol(code=1, complaint="Requested operation is\\nnot supported\\n")
    said = "job 4711 is not back in the queue: scontrol: Requested operation is not supported"
    assert slurm.requeue(signal.SIGUSR1) == said


def test_a_machine_without_scontrol_is_said_in_one_line(within, monkeypatch) -> None:
    within(BATCH)
    monkeypatch.setenv("PATH", "")
    said = "job 4711 is not back in the queue: scontrol: No such file or directory"
    assert slurm.requeue(signal.SIGUSR1) == said


def test_a_slurm_that_does_not_answer_is_said_in_one_line(within, scontrol, monkeypatch) -> None:
    within(BATCH)
    scontrol(complaint="x")
    (Path(os.environ["PATH"].split(os.pathsep)[0]) / "scontrol").write_text(
        "#!/bin/sh\nexec sleep 30\n"
    )
    monkeypatch.setattr(slurm, "PATIENCE", 0.2)
    said = slurm.requeue(signal.SIGUSR1)
    assert said is not None
    assert "timed out after 0.2 seconds" in said
    assert "\n" not in said
