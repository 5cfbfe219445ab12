"""From a plan to a pl.Trainer, and from a trained net to its result."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler

from cnnctl import nets, runs, weights
from cnnctl.config import schema
from cnnctl.data.module import DataModule
from cnnctl.data.source import Source
from cnnctl.nets.spec import Spec
from cnnctl.plan import Device, Plan
from cnnctl.tasks.classify import Classify, Configure
from cnnctl.training import loggers, optimizers, provenance, schedules
from cnnctl.training.callbacks import BEST, LAST, AtomicIO, Checkpoints, EpochRecord, Record


def fit(
    train: schema.Train,
    spec: Spec,
    source: Source,
    plan: Plan,
    run: Path,
    config: dict[str, Any],
    callbacks: list[pl.Callback],
) -> dict[str, Any]:
    """Train, then test the best epoch; returns the result that result.json keeps.

    Interrupting it (Ctrl-C) raises KeyboardInterrupt after Lightning has cleaned up.
    """
    began = time.perf_counter()
    pl.seed_everything(train.seed, workers=True, verbose=False)
    net = nets.build(spec, num_classes=len(plan.classes), shape=plan.shape)
    task = Classify(net, len(plan.classes), _configure(train, plan))
    module = DataModule(source, train.data, train.augment, train.seed)
    record = EpochRecord()
    checkpoints = Checkpoints(run / runs.CHECKPOINTS, config, plan.classes)
    with quiet(), _loggers(train.logger, run, config) as targets:
        trainer = build(
            plan.device,
            max_epochs=plan.epochs, max_steps=plan.steps, logger=targets,
            callbacks=[record, checkpoints, *callbacks],
            gradient_clip_val=train.trainer.clip,
            accumulate_grad_batches=train.trainer.accumulate,
        )  # fmt: skip
        try:
            trainer.fit(task, module)
        except SystemExit as stopped:  # Lightning turns Ctrl-C into exit(1)
            raise KeyboardInterrupt from stopped
        seconds = time.perf_counter() - began
        best = weights.read(run / runs.CHECKPOINTS / BEST)
        test = None
        if "test" in source.splits:
            weights.load(net, best)
            trainer.test(task, module.test_dataloader(), verbose=False)
            test = task.figures["test"]
    return _result(plan, run, record.records, best, test, seconds)


def build(device: Device, **options: Any) -> pl.Trainer:  # noqa: ANN401 - the options of pl.Trainer
    """A Trainer without its own bar, summary, checkpoints and sanity check."""
    return pl.Trainer(
        accelerator=device.accelerator,
        devices=device.devices if isinstance(device.devices, int) else list(device.devices),
        num_nodes=device.num_nodes,
        precision=device.precision,  # pyright: ignore[reportArgumentType] - one of schema.Precision
        strategy=device.strategy,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        plugins=[AtomicIO()],
        **options,
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's lines about devices and tips, each switched off by name."""
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in (
            r"The '\w+_dataloader' does not have many workers",  # the plan shows data.workers
            r"GPU available but not used",  # the plan shows the device
            r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 under newer torch
        ):
            warnings.filterwarnings("ignore", text)
        yield
    log.setLevel(level)


@contextlib.contextmanager
def _loggers(
    logger: schema.Logger, run: Path, config: dict[str, Any]
) -> Iterator[list[Any]]:
    targets = loggers.build(logger, run, config)
    try:
        yield targets
    finally:
        for target in targets:
            loggers.close(target)


def _configure(train: schema.Train, plan: Plan) -> Configure:
    """The optimizer and its schedule, once the parameters are on their device."""

    def configure(parameters: Iterator[torch.nn.Parameter]) -> OptimizerLRScheduler:
        fused = plan.device.precision != "16-mixed"
        optimizer = optimizers.build(train.optimizer, parameters, plan.lr, fused=fused)
        return [optimizer], schedules.build(train.schedule, optimizer, plan)

    return configure


def _result(
    plan: Plan,
    run: Path,
    records: list[Record],
    best: weights.Checkpoint,
    test: dict[str, float] | None,
    seconds: float,
) -> dict[str, Any]:
    """What `cnnctl train` found: keys are those of the JSON contract."""
    chosen = records[best.epoch]
    trained = sum(record["seconds"] for record in records)
    images = sum(record["images"] for record in records)
    last = weights.read(run / runs.CHECKPOINTS / LAST)
    return {
        "run": str(run),
        "weights_sha256": weights.sha256(last.weights),
        "params": plan.params,
        "epochs": len(records),
        "steps": int(records[-1]["step"]),
        "seconds": seconds,
        "images_per_second": images / trained,
        "peak_memory_bytes": provenance.peak_memory(plan.device),
        "best": {"epoch": int(chosen["epoch"]), "weights_sha256": weights.sha256(best.weights)},
        "val": _figures({name[4:]: value for name, value in chosen.items() if name.startswith("val/")}),
        "test": _figures(test) if test else None,
        "seed": plan.seed,
        "versions": provenance.versions(),
        "git": provenance.git(),
        "threads": torch.get_num_threads(),
    }


def _figures(means: dict[str, float]) -> dict[str, float | None]:
    """top1, top5 (null with five classes or fewer) and loss."""
    return {"top1": means["top1"], "top5": means.get("top5"), "loss": means["loss"]}
