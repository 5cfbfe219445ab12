"""cnnctl _rank RUN: one process of a run whose folder, configuration and plan exist."""

from __future__ import annotations

from pathlib import Path

from cnnctl import runs
from cnnctl.commands import Call


def run(call: Call) -> None:
    """Train as one of several processes; the one that started them shows the result."""
    from cnnctl.training import ranks

    ranks.watch()
    from cnnctl.commands import job

    folder = Path(call.targets[0])
    ready = job.prepare(runs.read_config(folder / runs.CONFIG))
    if ranks.started():
        ranks.join(ready.plan.device)
    job.work(ready, folder)
