"""From a job to a pl.Trainer, and from a trained net to its result."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from cnnctl import nets, runs, weights
from cnnctl.config import schema, tasks
from cnnctl.data.module import DataModule
from cnnctl.tasks.task import Task
from cnnctl.training import (
    available,
    averaging,
    engine,
    loggers,
    pace,
    provenance,
    ranks,
    room,
    start,
    trouble,
)  # fmt: skip
from cnnctl.training.callbacks import EpochRecord
from cnnctl.training.checkpoints import Checkpoints, most_of
from cnnctl.training.memory import MemoryCheck
from cnnctl.training.noise import plain_errors, quiet
from cnnctl.training.pace import Pace
from cnnctl.training.start import Job
from cnnctl.training.stop import Stop
from cnnctl.training.thaw import Thaw

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def fit(
    job: Job, run: Path, displays: list[pl.Callback], notice: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train, then test the best epoch; returns the result that result.json keeps.

    A run that has a last.ckpt goes on from there. Raises Stopped if a signal ends it, after a
    checkpoint, TrainingError if the loss is no longer a number or the memory is used up.
    """
    train, plan = job.train, job.plan
    last = run / runs.CHECKPOINTS / runs.LAST
    begun = last if last.exists() else None
    pl.seed_everything(train.seed + ranks.rank(), workers=True, verbose=False)
    module = DataModule(job.source, train, chunked=pace.fits(train, plan))
    task = start.task(job, run, module, notice, new=begun is None)
    stop = Stop(SIGNALS, f"go on with: cnnctl train --resume {run}")
    mended = f"mend it, then {stop.hint}"
    record, memory = EpochRecord(plan.steps), MemoryCheck()
    has = available.available(plan.device)
    if warning := room.tight(plan, has):
        notice(warning)
    with quiet(), plain_errors(mended), _loggers(train.logger, run, job.config) as targets:
        trainer = engine.build(
            plan.device,
            max_epochs=plan.epochs, logger=targets,
            callbacks=[record, memory, *_watching(job, run, module, stop), *displays],
        )  # fmt: skip
        with stop.listening():
            with trouble.told(lambda: room.advice(train, job.spec, plan, has)):
                trainer.fit(task, module, ckpt_path=begun, weights_only=True)
            undone = task.place.undone  # (epoch, step of it) from 0
            best = weights.read(run / runs.CHECKPOINTS / runs.BEST)
            if "test" in job.source.splits:
                task = _best(job, task, best)
                trainer.test(task, datamodule=module, verbose=False)
        notes = loggers.told(targets)
    result = _result(job, run, record, best) | {"memory": memory.beside(plan.memory)}
    result["undone"] = [list(at) for at in undone]
    return result | {"test": figures(task.figures.get("test")), **notes}


def _watching(job: Job, run: Path, module: DataModule, stop: Stop) -> list[pl.Callback]:
    """What acts between two steps, in this order: a checkpoint holds what the others have done."""
    train, every = job.train, job.train.checkpoint.every
    most = most_of(every) if every.unit == "steps" else None
    entry = weights.entry(job.config, job.plan.classes)
    return [
        *([Thaw(job.plan.transfer)] if job.plan.transfer else []),
        *([Pace(module, most)] if module.chunked else []),
        *averaging.build(train.trainer, job.plan, module.repeat),
        Checkpoints(run / runs.CHECKPOINTS, entry, every, stop),
    ]


def _best(job: Job, task: Task, best: weights.Checkpoint) -> Task:
    """What measures the best epoch: the same task, unless its weights are shared out."""
    if job.plan.device.strategy == "fsdp":
        net = nets.build(job.spec, num_classes=task.classes, shape=job.plan.shape)
        task = task.again(net)
    weights.load(task.net, best)
    return task


@contextlib.contextmanager
def _loggers(logger: schema.Logger, run: Path, config: dict[str, Any]) -> Iterator[list[Any]]:
    targets = loggers.build(logger, run, config)
    try:
        yield targets
    finally:
        for target in targets:
            loggers.close(target)


def _result(job: Job, run: Path, record: EpochRecord, best: weights.Checkpoint) -> dict[str, Any]:
    """What `cnnctl train` found: keys are those of the JSON contract."""
    plan, records = job.plan, record.records
    chosen = records[best.epoch]
    trained = sum(record["seconds"] for record in records)
    images = sum(record["images"] for record in records)
    waited = sum(record["waiting"] * record["seconds"] for record in records)
    last = weights.read(run / runs.CHECKPOINTS / runs.LAST)
    found = chosen.items()
    val = {name[4:]: value for name, value in found if name.startswith("val/")}
    return {
        "run": str(run),
        "task": tasks.of(job.config["model"]),
        "weights_sha256": weights.sha256(last.weights),
        "params": plan.params,
        "epochs": len(records),
        "steps": int(records[-1]["step"]),
        "seconds": record.seconds,
        "resumed": record.resumed,
        "images_per_second": images / trained,
        "waiting": waited / trained,
        "peak_memory_bytes": provenance.peak_memory(plan.device),
        "best": {"epoch": int(chosen["epoch"]), "weights_sha256": weights.sha256(best.weights)},
        "val": figures(val),
        "seed": plan.seed,
        "pretrained": plan.pretrained,
        "versions": provenance.versions(),
        "git": provenance.git(),
        "threads": torch.get_num_threads(),
    }


def figures(means: Mapping[str, float] | None) -> dict[str, float | None] | None:
    """The figures of a split, null without it; of classes top5 is null where there are few."""
    if means is None or "top1" not in means:
        return None if means is None else dict(means)
    ece = {"ece": means["ece"]} if "ece" in means else {}
    return {"top1": means["top1"], "top5": means.get("top5"), "loss": means["loss"], **ece}
