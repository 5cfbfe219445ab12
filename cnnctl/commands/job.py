"""One training job: planned, then worked off in its run folder. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnctl import data, plan, pretrained, runs
from cnnctl.commands.settle import settle
from cnnctl.report import progress
from cnnctl.training import ranks, trainer
from cnnctl.training.trainer import Job


def prepare(config: dict[str, Any], overrides: Sequence[str] = ()) -> Job:
    """Check everything, load the data, decide the plan; writes nothing."""
    train, spec = settle(config, overrides)
    progress.reading(train)
    source = data.load(train.data)
    start = None
    if train.pretrained is not None:
        shape = (train.data.channels, train.data.size, train.data.size)
        classes = len(source.classes)
        start = pretrained.find(
            train.pretrained, spec, num_classes=classes, shape=shape, outputs=train.outputs
        )
    told = None if start is None else start.document(train.data)
    return Job(config, train, spec, source, plan.make(train, spec, source, told), start)


def work(job: Job, folder: Path) -> dict[str, Any]:
    """Train in the run folder; the first of several processes keeps the result there."""
    displays = progress.build(job.train.progress, job.plan)
    result = trainer.fit(job, folder, displays)
    if ranks.rank() == 0:
        runs.write_json(folder / runs.RESULT, result)
    return result
