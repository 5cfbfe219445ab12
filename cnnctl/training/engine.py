"""The pl.Trainer that every command uses, for training and for measuring."""

from __future__ import annotations

import os
from typing import Any

import pytorch_lightning as pl

from cnnctl.devices import Device
from cnnctl.training.callbacks import AtomicIO

# Importing Lightning sets it, so that asking torch for GPUs makes no context on them before
# processes fork; without a GPU torch's fused optimizers then ask the driver in every step.
ASKS = "PYTORCH_NVML_BASED_CUDA_CHECK"


def build(device: Device, **options: Any) -> pl.Trainer:
    """A Trainer without its own bar, summary, checkpoints and sanity check."""
    if device.accelerator == "cpu":
        os.environ.pop(ASKS, None)
    trainer = pl.Trainer(
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
    if device.world > 1:
        # Before every batch Lightning would tell all processes whether one has got SIGTERM, and
        # wait for the device: a third of a small step. Whoever started them stops them all.
        loop: Any = trainer.fit_loop.epoch_loop
        loop._broadcast_sigterm_tensor = lambda: None  # noqa: SLF001 - there is no switch
    return trainer
