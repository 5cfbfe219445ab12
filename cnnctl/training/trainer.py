"""From a plan to a pl.Trainer, and from a trained net to its result."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn

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
from cnnctl.tasks.classify import Classify, Configure
from cnnctl.training import engine, loggers, optimizers, pace, provenance, ranks, schedules
from cnnctl.training.callbacks import Checkpoints, EpochRecord, Record
from cnnctl.training.measure import figures
from cnnctl.training.memory import MemoryCheck
from cnnctl.training.noise import plain_errors, quiet
from cnnctl.training.pace import Pace


class Job(NamedTuple):
    """A configuration, as composed and as read, and all that follows from it."""

    config: dict[str, Any]
    train: schema.Train
    spec: Spec
    source: Source
    plan: Plan
    start: Start | None


def fit(job: Job, run: Path, callbacks: list[pl.Callback]) -> dict[str, Any]:
    """Train, then test the best epoch; returns the result that result.json keeps.

    Interrupting it (Ctrl-C) raises KeyboardInterrupt after Lightning has cleaned up.
    """
    began = time.perf_counter()
    train, plan = job.train, job.plan
    pl.seed_everything(train.seed + ranks.rank(), workers=True, verbose=False)
    net = _net(job)
    several = pace.fits(train, plan)
    clip = train.trainer.clip
    task = Classify(net, len(plan.classes), _configure(train, plan), several=several, clip=clip)
    module = DataModule(job.source, train, chunked=several)
    record, memory = EpochRecord(), MemoryCheck()
    checkpoints = Checkpoints(run / runs.CHECKPOINTS, job.config, plan.classes)
    with quiet(), plain_errors(), _loggers(train.logger, run, job.config) as targets:
        trainer = engine.build(
            plan.device,
            max_epochs=plan.epochs, max_steps=plan.steps, logger=targets,
            callbacks=[record, memory, checkpoints, *([Pace(module)] * several), *callbacks],
            gradient_clip_val=None if several else clip,
            accumulate_grad_batches=train.trainer.accumulate,
        )  # fmt: skip
        try:
            trainer.fit(task, module)
        except SystemExit as stopped:  # Lightning turns Ctrl-C into exit(1)
            raise KeyboardInterrupt from stopped
        seconds = time.perf_counter() - began
        best = weights.read(run / runs.CHECKPOINTS / runs.BEST)
        if "test" in job.source.splits:
            weights.load(net, best)
            trainer.test(task, datamodule=module, verbose=False)
        notes = loggers.told(targets)
    result = _result(plan, run, record.records, best) | {"memory": memory.beside(plan.memory)}
    return result | {"seconds": seconds, "test": figures(task.figures.get("test")), **notes}


def _net(job: Job) -> Net:
    """The net as it starts, laid out and compiled as the configuration says."""
    train, plan = job.train, job.plan
    net = nets.build(job.spec, num_classes=len(plan.classes), shape=plan.shape)
    if job.start is not None:
        pretrained.load(net, job.start)
    if train.data.balance == "loss":
        counts = balance.weights(job.source.splits["train"].labels, len(plan.classes))
        net.class_weights = torch.from_numpy(counts).float()
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

    def configure(parameters: Iterator[nn.Parameter]) -> OptimizerLRScheduler:
        device, clip = plan.device, train.trainer.clip is not None
        how = update.loop(train.optimizer, device.precision, device.accelerator, clip=clip)
        fused = how == "fused"
        optimizer = optimizers.build(train.optimizer, parameters, plan.lr, fused=fused)
        # Lightning takes typed dicts here; its own annotation names the resolved class only
        return [optimizer], schedules.build(train.schedule, optimizer, plan)  # pyright: ignore[reportReturnType]

    return configure


def _result(
    plan: Plan, run: Path, records: list[Record], best: weights.Checkpoint
) -> dict[str, Any]:
    """What `cnnctl train` found: keys are those of the JSON contract."""
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
