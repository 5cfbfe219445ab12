"""One training job: planned, then worked off in its run folder. Imports torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnctl import data, devices, plan, plan_checks, pretrained, runs
from cnnctl.commands.settle import settle
from cnnctl.config import tasks
from cnnctl.config.schema import Train
from cnnctl.data import feed
from cnnctl.data.source import Source
from cnnctl.errors import Stopped
from cnnctl.report import console, progress
from cnnctl.tasks import losses
from cnnctl.training import ranks, slurm, trainer
from cnnctl.training.start import Job
from cnnctl.training.stop import Stop


def prepare(
    config: dict[str, Any], overrides: Sequence[str] = (), *, build: bool = True
) -> Job:  # fmt: skip
    """Check everything, load the data, decide the plan; writes nothing but a cache of images.

    Without `build` not even that.
    """
    train, spec = settle(config, overrides)
    source = ready(train, build=build)
    start = None
    if train.pretrained is not None:
        shape = (train.data.channels, train.data.size, train.data.size)
        classes = len(source.classes)
        start = pretrained.find(
            train.pretrained,
            spec,
            num_classes=classes,
            shape=shape,
            outputs=train.outputs,
            layers=train.pretrained_layers,
            classes=source.classes,
        )
    told = None if start is None else start.document(train.data)
    made = plan.make(train, spec, source, told, losses.build)
    for line in plan_checks.check(train, made):
        if ranks.rank() == 0 and ranks.STARTED not in os.environ:
            print(f"cnnctl: {line}", file=sys.stderr)
    return Job(config, train, spec, source, made, start)


def ready(train: Train, *, build: bool = True) -> Source:
    """The images of `train`, where they are read from; decoded once if they fit."""
    device = devices.settle(train.hardware)
    wanted = feed.Wanted(
        data=train.data, augment=train.augment,
        accelerator=device.accelerator, local=device.local, build=build,
    )  # fmt: skip
    with progress.reading(train.progress) as tell:
        return feed.settle(data.load(train.data), wanted, tell)


def carry_out(job: Job, folder: Path) -> dict[str, Any]:
    """The result of training in the run folder, with as many processes as the plan says.

    A run that has a checkpoint goes on from it. Raises RunError if another process is at it.
    """
    device = job.plan.device
    if ranks.rank() > 0:
        return work(job, folder)
    with runs.locked(folder):
        document = {"run": str(folder), **job.plan.document()}
        runs.reopen(folder)
        runs.write_config(folder, job.config)
        slurm.remember(folder, job.config)
        runs.write_json(folder / runs.PLAN, document)
        runs.write_json(folder / runs.SPLIT, job.source.cut())
        console.plan(console.out(stderr=True), document)
        if device.world == 1 or ranks.started():
            return work(job, folder)
        code = ranks.start(folder, device)
        if code:
            hint = f"go on with: cnnctl train --resume {folder}"
            raise Stop((), hint).error(code - 128)
        result = runs.read_result(folder)
        assert result is not None  # the first process wrote it, or start has raised
        return result


def work(job: Job, folder: Path) -> dict[str, Any]:
    """Train in the run folder; the first of several processes keeps the result there."""
    displays = progress.build(job.train.progress, job.plan)
    try:
        result = trainer.fit(job, folder, displays, progress.notice(displays))
    except Stopped as stopped:
        if said := slurm.requeue(stopped.args[2]):
            print(f"cnnctl: {said}", file=sys.stderr)
        raise
    if ranks.rank() == 0:
        runs.write_json(folder / runs.RESULT, result)
        if tasks.of(job.config["model"]) == "segment":
            from cnnctl.commands import kept_masks

            result["masks"] = kept_masks.of_run(job, folder)  # a picture that fails loses no result
            runs.write_json(folder / runs.RESULT, result)
    return result
