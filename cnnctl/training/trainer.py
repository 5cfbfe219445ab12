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
from torch import nn

from cnnctl import nets, runs, weights
from cnnctl.config import schema
from cnnctl.data.module import DataModule
from cnnctl.data.source import Source
from cnnctl.devices import Device
from cnnctl.errors import DataError
from cnnctl.plan import Job, Plan
from cnnctl.tasks.classify import Classify, Configure
from cnnctl.training import loggers, optimizers, provenance, ranks, schedules
from cnnctl.training.callbacks import BEST, LAST, AtomicIO, Checkpoints, EpochRecord, Record


def fit(job: Job, run: Path, callbacks: list[pl.Callback]) -> dict[str, Any]:
    """Train, then test the best epoch; returns the result that result.json keeps.

    Interrupting it (Ctrl-C) raises KeyboardInterrupt after Lightning has cleaned up.
    """
    began = time.perf_counter()
    train, plan = job.train, job.plan
    pl.seed_everything(train.seed + ranks.rank(), workers=True, verbose=False)
    net = nets.build(job.spec, num_classes=len(plan.classes), shape=plan.shape)
    task = Classify(net, len(plan.classes), _configure(train, plan))
    module = DataModule(job.source, train.data, train.augment, train.seed)
    record = EpochRecord()
    checkpoints = Checkpoints(run / runs.CHECKPOINTS, job.config, plan.classes)
    with quiet(), plain_errors(), _loggers(train.logger, run, job.config) as targets:
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
        if "test" in job.source.splits:
            weights.load(net, best)
            trainer.test(task, datamodule=module, verbose=False)
        notes = loggers.told(targets)
    result = _result(plan, run, record.records, best)
    return result | {"seconds": seconds, "test": _figures(task.figures.get("test")), **notes}


def measure(
    net: nn.Module, source: Source, train: schema.Train, split: str, device: Device
) -> dict[str, Any]:
    """Figures of `net` on one split, by class too; keys are those of the JSON contract."""
    task = Classify(net, len(source.classes))
    module = DataModule(source, train.data, train.augment, train.seed)
    with quiet(), plain_errors():
        began = time.perf_counter()
        build(device, logger=False).test(task, module.evaluation(split), verbose=False)
        seconds = time.perf_counter() - began
    return {
        "n": task.images["test"],
        "metrics": _figures(task.figures["test"]),
        "per_class": by_class(task.confusion, source.classes),
        "seconds": seconds,
        "weights_sha256": weights.sha256(net.state_dict()),
    }


def by_class(confusion: torch.Tensor, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Recall, precision and F1 of each class from counts (true, predicted); null for 0 / 0."""

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    true, guessed = confusion.sum(1).tolist(), confusion.sum(0).tolist()
    hits = confusion.diagonal().tolist()
    return [
        {
            "class": name, "n": true[i],
            "recall": share(hits[i], true[i]), "precision": share(hits[i], guessed[i]),
            "f1": share(2 * hits[i], true[i] + guessed[i]),
        }
        for i, name in enumerate(classes)
    ]  # fmt: skip


def build(device: Device, **options: Any) -> pl.Trainer:
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
        use_distributed_sampler=False,  # DataModule has samplers that repeat nothing
        log_every_n_steps=1,
        plugins=[AtomicIO()],
        **options,
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's lines about devices, ranks and tips, each switched off by name."""
    chatty = (
        "pytorch_lightning.utilities.rank_zero",
        "lightning_fabric.utilities.distributed",
        "pytorch_lightning.trainer.connectors.signal_connector",  # a stopped rank is told once
    )
    levels = {name: logging.getLogger(name).level for name in chatty}
    for name in chatty:
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in (
            r"The '\w+_dataloader' does not have many workers",  # the plan shows data.workers
            r"GPU available but not used",  # the plan shows the device
            r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 under newer torch
        ):
            warnings.filterwarnings("ignore", text)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """An error of the data in a loader process in one line: torch puts its traceback around it."""
    try:
        yield
    except DataError as wrong:
        _, around, text = wrong.message.rpartition(f"{DataError.__name__}: ")
        raise DataError(text.strip()) if around else wrong from None


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
        fused = plan.device.precision != "16-mixed"
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
    last = weights.read(run / runs.CHECKPOINTS / LAST)
    val = {name.removeprefix("val/"): value for name, value in chosen.items()}
    return {
        "run": str(run),
        "weights_sha256": weights.sha256(last.weights),
        "params": plan.params,
        "epochs": len(records),
        "steps": int(records[-1]["step"]),
        "images_per_second": images / trained,
        "peak_memory_bytes": provenance.peak_memory(plan.device),
        "best": {"epoch": int(chosen["epoch"]), "weights_sha256": weights.sha256(best.weights)},
        "val": _figures(val),
        "seed": plan.seed,
        "versions": provenance.versions(),
        "git": provenance.git(),
        "threads": torch.get_num_threads(),
    }


def _figures(means: dict[str, float] | None) -> dict[str, float | None] | None:
    """top1, top5 (null with five classes or fewer), loss, ece; null without that split."""
    if means is None:
        return None
    ece = {"ece": means["ece"]} if "ece" in means else {}
    return {"top1": means["top1"], "top5": means.get("top5"), "loss": means["loss"], **ece}
