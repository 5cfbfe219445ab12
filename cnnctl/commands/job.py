"""One training job: planned, then worked off in its run folder. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnctl import data, plan, runs
from cnnctl.commands.settle import settle
from cnnctl.plan import Job
from cnnctl.report import progress
from cnnctl.training import ranks, trainer


def prepare(config: dict[str, Any], overrides: Sequence[str] = ()) -> Job:
    """Check everything, load the data, decide the plan; writes nothing."""
    train, spec = settle(config, overrides)
    progress.reading(train)
    source = data.load(train.data)
    return Job(config, train, spec, source, plan.make(train, spec, source))


def work(job: Job, folder: Path) -> dict[str, Any]:
    """Train in the run folder; the first of several processes keeps the result there."""
    displays = progress.build(job.train.progress, job.plan)
    result = trainer.fit(job, folder, displays)
    if ranks.rank() == 0:
        runs.write_json(folder / runs.RESULT, result)
    return result
