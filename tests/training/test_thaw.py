from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from zoo import build

from cnnctl.training.noise import quiet
from cnnctl.training.thaw import Thaw
from cnnctl.transfer import Regime

BODY = ("conv1", "conv1_norm", "conv2_1", "conv2_2", "conv2_3",
        "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2", "conv4_3")  # fmt: skip


def regime(**changes: Any) -> Regime:
    """Of ResNet-20: all but the last layer frozen."""
    usual: dict[str, Any] = {
        "name": "", "why": "", "new": ("fc",), "frozen": BODY, "stages": (), "unfreeze_every": None,
        "backbone_lr": 1, "freeze_norm": True, "learning": 0,
    }  # fmt: skip
    return Regime(**(usual | changes))


GRADUAL = regime(stages=("conv4_1", "conv3_1"), unfreeze_every=2)


class Task(pl.LightningModule):
    """Trains ResNet-20, and notes in every step what learns and which layers are in training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = build("resnet20", (3, 8, 8))
        self.learning: list[int] = []  # layers with gradients, by step
        self.training_layers: list[int] = []
        self.validated: list[bool] = []

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        layers = [layer for name, layer in self.net.named_children() if name in (*BODY, "fc")]
        self.learning.append(
            sum(next(layer.parameters()).requires_grad for layer in layers)
        )  # fmt: skip
        self.training_layers.append(sum(layer.training for layer in layers))
        return self.net.loss(self.net(batch[0]), batch[1])

    def validation_step(self, *_: Any) -> None:
        self.validated.append(any(module.training for module in self.net.modules()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1, 0.9, weight_decay=0.01)


def fit(chosen: Regime, epochs: int, resume: Path | None = None) -> tuple[pl.Trainer, Task]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 8, 8, generator=generator)
    data = DataLoader(TensorDataset(images, torch.arange(8)), 4)
    task = Task()
    with quiet():
        trainer = pl.Trainer(
            max_epochs=epochs, callbacks=[Thaw(chosen)], accelerator="cpu", logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(task, data, data, ckpt_path=resume, weights_only=True)
    return trainer, task


def changed(net: nn.Module) -> set[str]:
    """The layers that are not as they start, their statistics included."""
    before = Task().net.state_dict()
    now = net.state_dict()
    return {name.partition(".")[0] for name in before if not torch.equal(before[name], now[name])}


def test_frozen_layers_stay_as_they_are_in_every_epoch() -> None:
    _, task = fit(regime(), 3)
    assert task.learning == task.training_layers == [1] * 6
    assert changed(task.net) == {"fc"}
    assert not any(task.validated)


def test_a_validation_leaves_frozen_layers_in_evaluation_mode() -> None:
    _, task = fit(regime(), 2)
    modes = {name: layer.training for name, layer in task.net.named_children()}
    assert {name for name in (*BODY, "fc") if modes[name]} == {"fc"}


def test_statistics_move_where_that_is_wanted() -> None:
    _, task = fit(regime(freeze_norm=False), 1)
    assert changed(task.net) == {"fc", *BODY} - {"conv1"}  # which has no norm of its own
    before, now = Task().net.state_dict(), task.net.state_dict()
    moved = {name.rpartition(".")[2] for name in before if not torch.equal(before[name], now[name])}
    assert moved == {"running_mean", "running_var", "num_batches_tracked", "weight", "bias"}
    names = dict(task.net.named_parameters())
    assert {name for name in names if not torch.equal(before[name], now[name])} == {
        "fc.weight", "fc.bias",
    }  # fmt: skip


def test_stages_begin_at_their_epoch() -> None:
    _, task = fit(GRADUAL, 7)
    assert task.learning == task.training_layers == [1] * 4 + [4] * 4 + [7] * 6
    assert changed(task.net) == {"fc", *BODY[5:]}


@pytest.mark.parametrize("first", [1, 2, 3, 4, 5])
def test_a_run_that_goes_on_ends_with_the_same_bits(first, tmp_path) -> None:
    _, whole = fit(GRADUAL, 6)
    trainer, half = fit(GRADUAL, first)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    _, rest = fit(GRADUAL, 6, tmp_path / "half.ckpt")
    assert half.learning + rest.learning == whole.learning
    assert rest.training_layers == whole.training_layers[2 * first :]
    state = rest.net.state_dict()
    assert all(torch.equal(state[name], value) for name, value in whole.net.state_dict().items())


def test_it_needs_no_state() -> None:
    assert Thaw(GRADUAL).state_dict() == {}
