"""Means of the weights over the steps or the epochs, which are what is measured and saved.

Lightning's WeightAveraging puts the mean in the place of the weights while validation runs, and
into `state_dict` of each checkpoint, beside `current_model_state`, with which a run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cnnctl.config import rules_learning, schema
from cnnctl.nets.sizes import BATCH_NORM
from cnnctl.plan import Plan

Repeat = Callable[[int], Iterable[Any]]
Mean = Callable[[Any, Any, Any], None]


def build(trainer: schema.Trainer, plan: Plan, repeat: Repeat) -> list[pl.Callback]:
    """The callback that takes the mean, if one is wanted.

    `repeat` gives, for an epoch from 0, what the loader of training gave in it. The callback has
    to stand before the one that saves checkpoints within an epoch.
    """
    if trainer.ema is not None:
        return [Ema(trainer.ema)]
    begin = rules_learning.swa_begin(trainer, per_epoch=plan.steps_per_epoch, steps=plan.steps)
    return [] if begin is None else [Swa(begin, repeat)]


class Averaging(WeightAveraging):
    """What both means have: the net alone is copied, not the task around it.

    Before the first weights are taken there is no mean, and the net stands for itself.
    """

    @property
    def mean(self) -> AveragedModel:
        """The mean of the weights, and how many went into it."""
        assert self._average_model is not None
        return self._average_model

    @property
    def begun(self) -> bool:
        """Whether there is a mean."""
        return self._average_model is not None and bool(self.mean.n_averaged > 0)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the net, under the names that it has in the task."""
        if stage == "fit":
            net = nn.ModuleDict({"net": _net(pl_module)})
            self._average_model = AveragedModel(net, use_buffers=self._use_buffers, **self._kwargs)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """By now the net is on its device and in its number format: follow it."""
        for mean, value in zip(_tensors(self.mean.module), _tensors(pl_module), strict=True):
            mean.data = mean.data.to(value)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the mean."""
        if self.begun:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with the weights."""
        if self.begun:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the weights as they are: whoever wants the mean has it in the checkpoints."""

    def state_dict(self) -> dict[str, Any]:
        """The step and the epoch that were the last to be counted."""
        return super().state_dict() | {"latest_update_epoch": self._latest_update_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count none of them twice."""
        super().load_state_dict(state_dict)
        self._latest_update_epoch = state_dict["latest_update_epoch"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Both the mean and the weights."""
        if self.begun:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Both, if it has both; one from before the mean was begun has the weights alone."""
        if self._average_model is not None and "averaging_state" in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class Ema(Averaging):
    """A running mean over all steps: mean = decay x mean + (1 - decay) x weights.

    Polyak, Juditsky 1992, in the form of Szegedy et al. 2016, section 8. It begins with the
    weights after the first step. Batch norm's statistics belong to the weights that made them,
    so they are averaged with the same decay, as the authors of EfficientNet do; what counts, or
    is an index, is copied.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True, multi_avg_fn=_running(decay))


class Swa(Averaging):
    """Stochastic weight averaging (Izmailov et al. 2018, algorithm 1).

    The mean of the weights at the end of each epoch after `begin` steps, each counting alike.
    Then batch norm's statistics are those of other weights: they are taken anew over the images
    of the epoch, as training saw them, before every measurement and not at the end alone, so
    that each checkpoint holds the net whose figures it has: one more forward pass an epoch.
    """

    def __init__(self, begin: int, repeat: Repeat) -> None:
        super().__init__(use_buffers=False)
        self.begin = begin
        self.repeat = repeat

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Not in Lightning's time, which is after the epoch has been measured."""
        return False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the weights in, if the epoch is over, and measure their mean."""
        over = trainer.is_last_batch or trainer.should_stop
        fresh = trainer.current_epoch > self._latest_update_epoch
        due = over and fresh and trainer.global_step >= self.begin
        if due:
            self.mean.update_parameters(pl_module)
            self._latest_update_epoch = trainer.current_epoch
        super().on_validation_epoch_start(trainer, pl_module)
        if due:
            refresh(_net(pl_module), self.repeat(trainer.current_epoch), trainer)


@torch.no_grad()
def refresh(net: nn.Module, lists: Iterable[Any], trainer: pl.Trainer) -> None:
    """Give batch norms the mean statistics of these batches; nothing is drawn, as in evaluation.

    Frozen ones keep theirs: their layers have not changed, and what follows has learned with
    them. Several processes take the mean of what each has found.
    """
    norms = [
        module for module in net.modules()
        if isinstance(module, BATCH_NORM) and module.num_batches_tracked is not None
        and (module.weight is None or module.weight.requires_grad)
    ]  # fmt: skip
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        assert norm.num_batches_tracked is not None
        norm.train()
        norm.momentum = None  # each batch counts alike, and the first one replaces what was there
        norm.num_batches_tracked.zero_()
    for batches in lists:
        for images, *_ in trainer.strategy.batch_to_device(batches):
            with trainer.precision_plugin.forward_context():
                net.forward(images)  # not __call__: a compiled net would be compiled anew
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
        if trainer.world_size > 1:
            for value in (value for value in norm.buffers() if value.is_floating_point()):
                value.copy_(trainer.strategy.reduce(value.clone(), reduce_op="mean"))


def _running(decay: float) -> Mean:
    """Torch's rule for floats alone: it would round an index down, and so change it."""
    rule = get_ema_multi_avg_fn(decay)

    def update(means: list[Tensor], values: list[Tensor], taken: Tensor | int) -> None:
        if means[0].is_floating_point():
            rule(means, values, taken)
        else:
            for mean, value in zip(means, values, strict=True):
                mean.copy_(value)

    return update


def _net(task: pl.LightningModule) -> nn.Module:
    net = task.net
    assert isinstance(net, nn.Module)
    return net


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    return chain(module.parameters(), module.buffers())
