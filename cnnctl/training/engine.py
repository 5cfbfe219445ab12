"""The pl.Trainer that every command uses, for training and for measuring."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import FSDPStrategy
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

from cnnctl import devices
from cnnctl.devices import Device
from cnnctl.training.store import VerifiedIO

# Importing Lightning sets it, so that asking torch for GPUs makes no context on them before
# processes fork; without a GPU torch's fused optimizers then ask the driver in every step.
ASKS = "PYTORCH_NVML_BASED_CUDA_CHECK"
SHARD = 2**20  # parameters: an exchange of fewer takes no less time


class Environment(LightningEnvironment):
    """RANK, WORLD_SIZE, LOCAL_RANK, NODE_RANK, MASTER_ADDR and MASTER_PORT, whoever set them.

    Named, because Lightning looks for Slurm otherwise, and would handle its signals by itself.
    """

    def teardown(self) -> None:
        """Keep WORLD_SIZE for the next run: Lightning's deletes it."""


class Sharded(FSDPStrategy):
    """Shares out the weights of the task's `net`, large layers one by one.

    Lightning wraps the whole task and makes its steps within one forward pass of it, in which
    FSDP lets nothing go backward: its issues 19626 and 19685.
    """

    def _setup_model(self, model: nn.Module) -> nn.Module:
        model.net = FullyShardedDataParallel(
            model.net,  # pyright: ignore[reportArgumentType] - of every task
            auto_wrap_policy=partial(size_based_auto_wrap_policy, min_num_params=SHARD),
            mixed_precision=self.mixed_precision_config,
            device_id=self.root_device,
            sync_module_states=True,  # processes draw their first weights by themselves
            use_orig_params=True,  # groups of parameters stay apart
        )
        return super()._setup_model(model)


def build(device: Device, **options: Any) -> pl.Trainer:
    """A Trainer without its own bar, summary, checkpoints and sanity check.

    Also sets torch's switches, see `devices.switch`.
    """
    if device.accelerator == "cpu":
        os.environ.pop(ASKS, None)
    devices.switch(device)
    trainer = pl.Trainer(
        accelerator=device.accelerator,
        devices=device.devices if isinstance(device.devices, int) else list(device.devices),
        num_nodes=device.num_nodes,
        precision=device.precision,  # pyright: ignore[reportArgumentType] - one of schema.Precision
        strategy=_strategy(device),
        sync_batchnorm=device.sync_batchnorm,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # DataModule has samplers that repeat nothing
        log_every_n_steps=1,
        plugins=[VerifiedIO(), Environment()],
        **options,
    )
    # Signals are ours. On SIGTERM Lightning's handler would have all processes talk to each other,
    # wherever they are: two that are waiting for a gradient then wait for ever.
    trainer._signal_connector.register_signal_handlers = lambda: None  # noqa: SLF001 - there is no switch
    if device.world > 1:
        # Before every batch Lightning would tell all processes whether one has got SIGTERM, and
        # wait for the device: a third of a small step. Whoever started them stops them all.
        loop: Any = trainer.fit_loop.epoch_loop
        loop._broadcast_sigterm_tensor = lambda: None  # noqa: SLF001 - there is no switch
    return trainer


def _strategy(device: Device) -> str | FSDPStrategy:
    if device.world == 1:
        return "auto"
    if device.strategy == "fsdp":
        return Sharded(state_dict_type="full")  # a checkpoint is one file
    return "ddp"
