"""Frozen layers in training, and when they begin to learn."""

from __future__ import annotations

import pytorch_lightning as pl

from cnnctl import transfer
from cnnctl.transfer import Regime


class Thaw(pl.Callback):
    """Freezes the module `net` of a task as its regime says for the epoch.

    It has no state: what learns follows from the epoch alone, so a run that goes on after an
    interruption freezes the same layers. A validation leaves the modes as they were before it.
    """

    def __init__(self, regime: Regime) -> None:
        self.regime = regime

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """In a run that goes on within an epoch, that epoch does not start."""
        self._freeze(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the next stage learn if it is its turn."""
        self._freeze(trainer, pl_module)

    def _freeze(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        net = pl_module.get_submodule("net")
        transfer.freeze(net, self.regime, trainer.current_epoch)
        transfer.fix(net, self.regime, trainer.current_epoch)
