"""From a plan to a pl.Trainer, and from a trained net to its result."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler

from cnnctl import nets, pretrained, runs, weights
from cnnctl.audit import update
from cnnctl.config import schema
from cnnctl.data import balance
from cnnctl.data.module import DataModule
from cnnctl.data.source import Source
from cnnctl.nets.net import Net
from cnnctl.nets.spec import Spec
from cnnctl.plan import Plan
from cnnctl.pretrained import Start
from cnnctl.tasks.classify import Classify
from cnnctl.tasks.steps import Configure
from cnnctl.training import (
    available,
    averaging,
    engine,
    groups,
    loggers,
    optimizers,
    pace,
    provenance,
    ranks,
    room,
    schedules,
    trouble,
)
from cnnctl.training.callbacks import EpochRecord, Record
from cnnctl.training.checkpoints import Checkpoints
from cnnctl.training.measure import figures
from cnnctl.training.memory import MemoryCheck
from cnnctl.training.noise import plain_errors, quiet
from cnnctl.training.pace import Pace
from cnnctl.training.stop import Stop

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Job(NamedTuple):
    """A configuration, as composed and as read, and all that follows from it."""

    config: dict[str, Any]
    train: schema.Train
    spec: Spec
    source: Source
    plan: Plan
    start: Start | None


def fit(
    job: Job, run: Path, callbacks: list[pl.Callback], notice: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train, then test the best epoch; returns the result that result.json keeps.

    A run that has a last.ckpt goes on from there. Raises Stopped if a signal ends it, after a
    checkpoint, TrainingError if the loss is no longer a number or the memory is used up.
    """
    train, plan = job.train, job.plan
    checkpoint = run / runs.CHECKPOINTS / runs.LAST
    resumed = checkpoint.is_file()
    pl.seed_everything(train.seed + ranks.rank(), workers=True, verbose=False)
    net = _net(job, new=not resumed)
    task = Classify(
        net, len(plan.classes), _configure(train, plan), clip=train.trainer.clip,
        rollback=train.on_nan == "rollback", split=train.on_oom == "split",
    )  # fmt: skip
    task.notice = task.gradient.notice = notice
    has = available.available(plan.device)
    if warning := room.tight(plan, has):
        notice(warning)
    stop = Stop(SIGNALS, f"go on with: cnnctl train --resume {run}")
    several, every = pace.fits(train, plan), train.checkpoint.every
    most = int(every.amount) if every.unit == "steps" else None
    module = DataModule(job.source, train, chunked=several)
    task.gradient.again = module.again
    if plan.device.strategy != "fsdp" and not train.hardware.sync_batchnorm:
        # their layers wait for other processes, which may not have to look for anything
        task.explain = trouble.explainer(task, module, job.source, run)
    record, memory = EpochRecord(), MemoryCheck()
    entry = weights.entry(job.config, plan.classes)
    checkpoints = Checkpoints(checkpoint.parent, entry, every, stop)
    mean = averaging.build(train.trainer, plan, module.repeat)
    own = [record, memory, *([Pace(module, most)] * several), *mean, checkpoints]
    with quiet(), plain_errors(), _loggers(train.logger, run, job.config) as targets:
        trainer = engine.build(
            plan.device,
            max_epochs=plan.epochs, max_steps=plan.steps, logger=targets,
            callbacks=[*own, *callbacks],
        )  # fmt: skip
        with stop.listening():
            with trouble.told(lambda: room.advice(train, job.spec, plan, has)):
                start = checkpoint if resumed else None
                trainer.fit(task, module, ckpt_path=start, weights_only=True)
            best = weights.read(run / runs.CHECKPOINTS / runs.BEST)
            if "test" in job.source.splits:
                weights.load(net, best)
                trainer.test(task, datamodule=module, verbose=False)
        notes = loggers.told(targets)
    result = _result(plan, run, record, best) | {"memory": memory.beside(plan.memory)}
    return result | {"test": figures(task.figures.get("test")), **notes}


def _net(job: Job, *, new: bool) -> Net:
    """The net as it starts, laid out and compiled as the configuration says.

    Unless it is `new` its weights are going to be those of a checkpoint.
    """
    train, plan = job.train, job.plan
    net = nets.build(job.spec, num_classes=len(plan.classes), shape=plan.shape)
    if new and job.start is not None:
        pretrained.load(net, job.start)
    if train.data.balance == "loss":
        counts = balance.weights(job.source.splits["train"].labels, len(plan.classes))
        net.class_weights = torch.from_numpy(counts).float()
    net.label_smoothing = train.trainer.label_smoothing
    if plan.device.precision == "64-true":
        net.double()  # Lightning converts it after it has read a checkpoint
    several = plan.device.world > 1  # then gradients must lie as the weights do
    if train.trainer.channels_last and (plan.device.accelerator != "cpu" or several):
        # a CPU copies the weights in every step, which takes it no longer than to find them turned
        net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's annotation lacks it
    if train.trainer.compile:
        net.compile()
    return net


@contextlib.contextmanager
def _loggers(logger: schema.Logger, run: Path, config: dict[str, Any]) -> Iterator[list[Any]]:
    targets = loggers.build(logger, run, config)
    try:
        yield targets
    finally:
        for target in targets:
            loggers.close(target)


def _configure(train: schema.Train, plan: Plan) -> Configure:
    """The optimizer and its schedule, once the parameters are on their device."""

    def configure(net: Net) -> OptimizerLRScheduler:
        device, clip = plan.device, train.trainer.clip is not None
        how = update.loop(train.optimizer, device.precision, device.accelerator, clip=clip)
        fused = how == "fused"
        made = groups.build(net, train.optimizer, plan.lr)
        optimizer = optimizers.build(train.optimizer, made, plan.lr, fused=fused)
        # Lightning takes typed dicts here; its own annotation names the resolved class only
        return [optimizer], schedules.build(train.schedule, optimizer, plan, train.trainer)  # pyright: ignore[reportReturnType]

    return configure


def _result(plan: Plan, run: Path, record: EpochRecord, best: weights.Checkpoint) -> dict[str, Any]:
    """What `cnnctl train` found: keys are those of the JSON contract."""
    records: list[Record] = record.records
    chosen = records[best.epoch]
    trained = sum(record["seconds"] for record in records)
    images = sum(record["images"] for record in records)
    waited = sum(record["waiting"] * record["seconds"] for record in records)
    last = weights.read(run / runs.CHECKPOINTS / runs.LAST)
    val = {name.removeprefix("val/"): value for name, value in chosen.items()}
    return {
        "run": str(run),
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
