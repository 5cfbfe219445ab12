"""Slurm: the place of a process among those of srun, and jobs that go back into the queue.

A job that is put back into the queue runs the same command line again, under the same number.
So a run is remembered under the number of its job, and the command line finds it again.

Names and meanings of the variables: the manual pages of srun and sbatch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnctl import runs
from cnnctl.errors import RunError, UsageError

INTERACTIVE = ("bash", "interactive")  # names of the jobs that srun --pty bash and salloc make
FIRST_PORT, PORTS = 15_000, 17_000  # below those that Linux gives to whoever asks for any
STEP_STRIDE = 7_919  # a prime: the first steps of jobs with neighbouring numbers do not meet
PATIENCE = 60  # seconds that scontrol may take


def place() -> dict[str, str]:
    """What torchrun would tell this process of srun's; empty if srun started no others.

    SLURM_NTASKS does not tell: in a batch script it is set although the script is one process.
    Raises UsageError if the nodes have different numbers of processes.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks == 1:
        return {}
    nodes = int(os.environ["SLURM_STEP_NUM_NODES"])
    if "," in os.environ.get("SLURM_STEP_TASKS_PER_NODE", "") or tasks % nodes:
        text = f"srun started {tasks} processes on {nodes} nodes, not as many on each"
        raise UsageError(text, "srun --ntasks-per-node=…, one for each device")
    local, node = os.environ["SLURM_LOCALID"], os.environ["SLURM_NODEID"]
    listed = os.environ.get("SLURM_STEP_NODELIST") or os.environ["SLURM_JOB_NODELIST"]
    # not SLURM_PROCID, which goes round the nodes under --distribution=cyclic
    rank = int(node) * (tasks // nodes) + int(local)
    number = int(os.environ["SLURM_JOB_ID"]) + STEP_STRIDE * int(os.environ["SLURM_STEP_ID"])
    return {
        "RANK": str(rank), "LOCAL_RANK": local, "NODE_RANK": node,
        "WORLD_SIZE": str(tasks), "LOCAL_WORLD_SIZE": str(tasks // nodes),
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", next(hosts(listed))),
        "MASTER_PORT": os.environ.get("MASTER_PORT", str(FIRST_PORT + number % PORTS)),
    }  # fmt: skip


def hosts(listed: str) -> Iterator[str]:
    """The names in Slurm's short form: gpu[03-05,7],login is gpu03, gpu04, gpu05, gpu7, login."""
    for part in re.findall(r"(?:\[[^]]*\]|[^],[])+", listed):
        yield from _expanded(part)


def _expanded(part: str) -> Iterator[str]:
    head, opened, rest = part.partition("[")
    if not opened:
        yield head
        return
    inside, _, tail = rest.partition("]")
    for item in inside.split(","):
        first, _, last = item.partition("-")
        for number in range(int(first), int(last or first) + 1):
            for end in _expanded(tail):
                yield f"{head}{number:0{len(first)}}{end}"


def job() -> str | None:
    """The number of this batch job, as scontrol takes it; None elsewhere."""
    number = os.environ.get("SLURM_JOB_ID")
    if number is None or os.environ.get("SLURM_JOB_NAME") in INTERACTIVE:
        return None
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return number if array is None else f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"


def requeue(signum: int) -> str | None:
    """Put this job back into the queue if that is what `signum` meant; one line about it.

    SIGUSR1 means it: `#SBATCH --signal=SIGUSR1@90` sends it before the time is up. SIGTERM
    means it if the job was pre-empted; scancel sends it, too, and who cancels a job does not
    want it back. None where there is no such job, and in all processes but the first.
    To be called when everything is saved: Slurm then ends the job.
    """
    number = job()
    asked = signum in (signal.SIGUSR1, signal.SIGTERM)
    if number is None or not asked or os.environ.get("RANK", "0") != "0":
        return None
    try:
        if signum == signal.SIGTERM and not _preempted(
            _scontrol("--oneliner", "show", "job", number)
        ):
            return f"job {number} was not pre-empted, so it is not put back into the queue"
        _scontrol("requeue", number)
    except (OSError, subprocess.SubprocessError) as wrong:
        said = getattr(wrong, "stderr", None) or getattr(wrong, "strerror", None) or str(wrong)
        why = " ".join(said.split())
        return f"job {number} is not back in the queue: scontrol: {why}"
    return f"job {number} is back in the queue and will go on from here"


def _scontrol(*words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own words, and the job's number from Slurm
        ["scontrol", *words],  # noqa: S607 - PATH says where it lies
        capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    return done.stdout


def _preempted(shown: str) -> bool:
    """Whether Slurm notes a time at which it pre-empted the job."""
    found = re.search(r"\bPreemptTime=(\S+)", shown)
    return found is not None and found[1] not in ("None", "N/A", "Unknown")


def remember(run: Path, config: dict[str, Any]) -> None:
    """Note in the folder of all runs that this job made `run` from `config`; else nothing."""
    if job() is not None:
        runs.write(_note(run.parent, config), f"{run.name}\n")


def earlier(folder: Path, config: dict[str, Any]) -> Path | None:
    """The run in `folder` that this job made from `config` before it was put back; or None.

    A job may make several runs, and those that are finished are found as well.
    """
    if job() is None or int(os.environ.get("SLURM_RESTART_COUNT", "0")) == 0:
        return None  # a first start: Slurm may give an old number again
    try:
        run = folder / _note(folder, config).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except OSError as wrong:
        raise RunError(f"cannot read the notes in {folder}: {wrong.strerror}") from wrong
    return run if (run / runs.CONFIG).is_file() else None


def _note(folder: Path, config: dict[str, Any]) -> Path:
    """One file for each run of the job, so that no two write into the same."""
    text = json.dumps(config, sort_keys=True, default=str)
    return folder / f".slurm_{job()}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
