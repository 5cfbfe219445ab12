"""Nets that learn from lists of batches, some of which give no finite number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnnctl.config import learning
from cnnctl.config.duration import Duration
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.devices import Device
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.steps import Steps
from cnnctl.training import engine, noise, schedules

CPU = Device(
    accelerator="cpu", devices=1, num_nodes=1, precision="32-true", strategy="auto",
    sync_batchnorm=False, deterministic=False, matmul="highest", name="cpu",
)  # fmt: skip
BURST = 777.0  # an image of this value has a finite loss and a gradient that is not
NO_WARMUP, TWO = Duration(0, "steps"), Duration(2, "steps")
SCHEDULES = {
    "constant": learning.Schedule(name="constant", warmup=NO_WARMUP),
    "warm-up": learning.Schedule(name="constant", warmup=TWO),
    "step": learning.Step(name="step", warmup=NO_WARMUP, every=1, gamma=0.3),
    "multistep": learning.MultiStep(name="multistep", warmup=TWO, milestones=(1,), gamma=0.2),
    "cosine": learning.Cosine(name="cosine", warmup=TWO, final=0.1),
    "one_cycle": learning.OneCycle(name="one_cycle", warmup=TWO, start=0.1, final=0.01),
    "plateau": learning.Plateau(name="plateau", warmup=NO_WARMUP, patience=0, gamma=0.5),
    "plateau after warm-up": learning.Plateau(name="plateau", warmup=TWO, patience=0, gamma=0.5),
}


class Burst(torch.autograd.Function):
    """The same values; the way back ends in infinity where an image is BURST."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.bursts = bool((values.abs() > BURST / 9).any())
        return values.clamp(-9, 9)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * float("inf") if ctx.bursts else grads[0]


class Bursting(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return Burst.apply(values)  # pyright: ignore[reportReturnType]


def small() -> Net:
    torch.manual_seed(0)
    layers = OrderedDict[str, nn.Module](
        scale=nn.Linear(4, 4), burst=Bursting(), hidden=nn.Linear(4, 6), norm=nn.BatchNorm1d(6),
        act=nn.Tanh(), drop=nn.Dropout(0.2), head=nn.Linear(6, 3),
    )  # fmt: skip
    with torch.no_grad():
        net = Net(layers, "torch").train()
        net.scale.weight.copy_(torch.eye(4))
        net.scale.bias.zero_()
    return net


def batches(count: int, bad: dict[int, float] | None = None, parts: int = 1) -> list[Batch]:
    """Batches of five images; `bad` are values that fill a batch of that number."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for number in range(count):
        images = torch.randn(5, 4, generator=generator)
        labels = torch.randint(0, 3, (5,), generator=generator)
        images = images if number not in (bad or {}) else torch.full_like(images, bad[number])
        last = (number + 1) % parts == 0
        ticket = Ticket(np.arange(5), 0, number, 90 + number, 5 * parts, last)
        found.append(Batch(images, labels, ticket))
    return found


class Learns(Steps):
    """Notes the rate and the loss of each step."""

    def __init__(self, net: Net, configure: Any, **how: Any) -> None:
        super().__init__(net, configure, **how)
        self.rates: list[float] = []
        self.told: list[str] = []
        self.notice = self.told.append

    def count(self, split: str, measured: Measured) -> None:
        assert split == "train"
        assert not measured.loss.requires_grad
        self.rates.append(self.place.lr)


class Given(pl.LightningDataModule):
    """Lists of batches, from where a checkpoint says."""

    def __init__(self, lists: list[list[Batch]]) -> None:
        super().__init__()
        self.lists = lists
        self.begun = (0, 0)

    def train_dataloader(self) -> Any:
        lists, steps = self.lists, self.begun[1]
        while steps > 0:
            steps -= sum(batch.ticket.last for batch in lists[0])
            lists = lists[1:]
        return DataLoader(lists, batch_size=None, collate_fn=lambda several: several)  # pyright: ignore[reportArgumentType]


Make = Callable[[Any], Any]


def sgd(kind: str = "constant", steps: int = 9, per_epoch: int = 3) -> Make:
    plan: Any = SimpleNamespace(steps=steps, steps_per_epoch=per_epoch)
    schedule = SCHEDULES[kind]
    plan.warmup_steps = schedule.warmup.steps(per_epoch=per_epoch, total=steps)

    def configure(net: Net) -> Any:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
        return [optimizer], schedules.build(schedule, optimizer, plan)

    return configure


def trained(task: Steps, lists: list[list[Batch]], **more: Any) -> pl.Trainer:
    """One epoch over these lists."""
    with noise.quiet():
        trainer = engine.build(CPU, max_epochs=1, logger=False, limit_val_batches=0)
        trainer.fit(task, datamodule=Given(lists), **more)
    return trainer


def one_by_one(given: list[Batch]) -> list[list[Batch]]:
    return [[batch] for batch in given]


def tensors(task: Steps) -> list[Tensor]:
    """Weights, running statistics and what the optimizer keeps."""
    optimizer = task.optimizers()
    assert not isinstance(optimizer, list)
    held = [value for state in optimizer.state.values() for value in state.values()]
    found = [*task.net.parameters(), *task.net.buffers(), *held]
    return [value.detach().clone() for value in found if isinstance(value, Tensor)]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
