from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnnctl.config import learning
from cnnctl.config.duration import Duration
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.devices import Device
from cnnctl.errors import TrainingError
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.steps import NotFinite, Steps
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


@pytest.mark.parametrize("lengths", [[6], [1, 5], [2, 3, 1]])
def test_lists_of_any_length_make_the_same_steps(lengths) -> None:
    found = []
    for sizes in ([1] * 6, lengths):
        given, task = batches(6), Learns(small(), sgd("cosine"))
        lists = [[given.pop(0) for _ in range(size)] for size in sizes]
        assert trained(task, lists).global_step == 6
        assert task.place.begun == 6
        found.append((tensors(task), task.rates))
    assert same(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), BURST])
@pytest.mark.parametrize("together", [True, False])
def test_a_step_without_a_number_ends_the_run_before_it_is_applied(value, together) -> None:
    good, given = Learns(small(), sgd()), batches(5, {3: value})
    trained(good, [given[:3]])
    task = Learns(small(), sgd())
    seen: list[list[int]] = []

    def explain(parts: Any) -> tuple[TrainingError, bool]:
        seen.append([ticket.number for ticket in parts])
        return TrainingError("step 4: bad", "lower"), True

    task.explain = explain
    with pytest.raises(TrainingError, match=r"^step 4: bad \(lower\)$"):
        trained(task, [given] if together else one_by_one(given))
    assert seen == [[3]]
    weights = [value for value in zip(task.net.parameters(), good.net.parameters(), strict=True)]
    assert all(torch.equal(one, other) for one, other in weights)
    optimizer, other = task.trainer.optimizers[0], good.trainer.optimizers[0]
    found, wanted = (one.state_dict()["state"] for one in (optimizer, other))
    assert same([one["momentum_buffer"] for one in found.values()],
                [one["momentum_buffer"] for one in wanted.values()])  # fmt: skip
    assert len(task.rates) == 3


def test_the_very_first_step_leaves_no_state_behind() -> None:
    task = Learns(small(), sgd())
    with pytest.raises(TrainingError, match="^the loss or its gradient is not finite$"):
        trained(task, one_by_one(batches(2, {0: BURST})))
    assert dict(task.trainer.optimizers[0].state) == {}
    assert task.trainer.global_step == 0


def without(kind: str, given: list[Batch], halved: list[int]) -> tuple[Net, list[float]]:
    """The textbook's loop over good batches alone: half the rate from the steps `halved` on."""
    net = small()
    (optimizer,), entries = sgd(kind)(net)
    entries = [entry["scheduler"] for entry in entries]
    rates = []
    for number, (images, labels, ticket) in enumerate(given):
        factor = 0.5 ** sum(number >= step for step in halved)
        shown = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] *= factor
        rates.append(optimizer.param_groups[0]["lr"])
        torch.manual_seed(ticket.word)
        optimizer.zero_grad()
        net.loss(net(images), labels).backward()
        optimizer.step()
        for group, rate in zip(optimizer.param_groups, shown, strict=True):
            group["lr"] = rate
        for schedule in entries:
            if not isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
                schedule.step()
    return net, rates


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("value", [float("nan"), BURST])
@pytest.mark.parametrize("bad", [[0], [4], [1, 2], [1, 4, 8]])
def test_rollback_goes_on_as_if_the_batch_were_not_there_at_half_the_rate(kind, value, bad) -> None:
    given = batches(9, dict.fromkeys(bad, value))
    task = Learns(small(), sgd(kind), rollback=True)
    trained(task, [given[:2], given[2:]])
    good = [batch for number, batch in enumerate(given) if number not in bad]
    halved = [number - place for place, number in enumerate(bad)]
    net, rates = without(kind, good, halved)
    assert task.rates == pytest.approx(rates, rel=1e-6)
    for found, wanted in zip(task.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    for found, wanted in zip(task.net.buffers(), net.buffers(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert task.place.undone == tuple((0, number) for number in bad)
    assert task.trainer.global_step == 9 - len(bad)
    assert task.place.begun == 9
    assert len(task.told) == len(bad)
    text = "the loss or its gradient is not finite: step undone, learning rate halved to "
    assert all(line.startswith(text) for line in task.told)


@pytest.mark.parametrize("value", [float("nan"), BURST])
def test_an_undone_step_touches_nothing_but_the_rate(value) -> None:
    for parts in (1, 2):
        states: list[list[Tensor]] = []
        task = Learns(small(), sgd(), rollback=True, clip=0.1)
        step = task._step

        def watched(optimizer: Any, task: Learns = task, step: Any = step) -> None:
            step(optimizer)
            states.append(tensors(task))

        task._step = watched
        given = batches(4 * parts, {2 * parts: value}, parts)
        trained(task, one_by_one(given))
        assert same(states[1], states[2])
        assert not same(states[2], states[3])
        assert task.rates == [0.5] * 2 * parts + [0.25] * parts


def test_a_fourth_step_without_a_number_ends_the_run() -> None:
    task = Learns(small(), sgd(), rollback=True)
    with pytest.raises(TrainingError) as caught:
        trained(task, one_by_one(batches(6, dict.fromkeys((0, 1, 3, 4), BURST))))
    text = "the loss or its gradient is not finite; 3 steps have been undone before"
    assert str(caught.value) == text
    assert task.place.undone == ((0, 0), (0, 1), (0, 3))


def test_what_a_lower_rate_does_not_help_ends_the_run_at_once() -> None:
    task = Learns(small(), sgd(), rollback=True)
    task.explain = lambda _: (TrainingError("an image is not finite", "look"), False)
    with pytest.raises(TrainingError, match=r"^an image is not finite \(look\)$"):
        trained(task, one_by_one(batches(3, {1: float("nan")})))
    assert (task.place.undone, task.rates, task.told) == ((), [0.5], [])


def test_a_plateau_goes_on_from_half_the_rate() -> None:
    task = Learns(small(), sgd("plateau"), rollback=True)
    trained(task, one_by_one(batches(3, {1: BURST})))
    for figure, rate in ((0.5, 0.25), (0.4, 0.125), (0.6, 0.125), (0.6, 0.0625)):
        task.over(figure)
        assert task.trainer.optimizers[0].param_groups[0]["lr"] == rate
    assert (task.place.epoch, task.place.begun) == (4, 0)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("made", [2, 4, 6])
def test_all_of_it_survives_a_checkpoint(tmp_path: Path, kind, made) -> None:
    given = one_by_one(batches(8, {1: BURST, 3: float("nan")}))
    whole = Learns(small(), sgd(kind), rollback=True)
    trained(whole, given)
    first = Learns(small(), sgd(kind), rollback=True)
    place = tmp_path / "x.ckpt"
    trained(first, given[:made]).save_checkpoint(place, weights_only=False)
    second = Learns(small(), sgd(kind), rollback=True)
    trained(second, given, ckpt_path=place, weights_only=True)
    assert same(tensors(second), tensors(whole))
    assert second.place == whole.place
    assert first.rates + second.rates == whole.rates
    assert second.trainer.global_step == whole.trainer.global_step == 6


def test_pieces_survive_a_checkpoint(tmp_path: Path) -> None:
    first, second = (Learns(small(), sgd()) for _ in range(2))
    first.gradient.pieces = 2
    trainer = trained(first, one_by_one(batches(2)))
    trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)
    trained(second, one_by_one(batches(3)), ckpt_path=tmp_path / "x.ckpt", weights_only=True)
    assert second.gradient.pieces == second.place.pieces == 2


def looked_at(grad: float, loss: float, *, rollback: bool = False, **trainer: Any) -> None:
    task = Learns(small(), None, rollback=rollback)
    task._trainer = SimpleNamespace(**{"world_size": 1, "precision": "32-true"} | trainer)
    task.gradient.losses = [torch.tensor(1.0), torch.tensor(loss)]
    for value in list(task.net.parameters())[1:]:  # the first is frozen
        value.grad = torch.full_like(value, grad)
    task.on_before_optimizer_step(copy.copy(None))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_loss_and_gradient_have_to_be_finite(bad) -> None:
    looked_at(1e30, 1e30)
    for grad, loss in ((bad, 1.0), (1.0, bad), (bad, bad)):
        with pytest.raises(NotFinite):
            looked_at(grad, loss)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_scaler_looks_at_the_gradient_by_itself(bad) -> None:
    looked_at(bad, 1.0, precision="16-mixed")
    with pytest.raises(NotFinite):
        looked_at(1.0, bad, precision="16-mixed")


def test_processes_that_undo_a_step_go_by_the_gradient_that_they_share() -> None:
    nan = float("nan")
    looked_at(1.0, nan, world_size=2, rollback=True)
    with pytest.raises(NotFinite):
        looked_at(nan, 1.0, world_size=2, rollback=True)
    with pytest.raises(NotFinite):
        looked_at(1.0, nan, world_size=2)


def test_nothing_of_a_schedule_is_no_schedule() -> None:
    task = Learns(small(), lambda net: torch.optim.SGD(net.parameters(), lr=0.1))
    trained(task, one_by_one(batches(2)))
    assert task.schedules() == []
    assert task.rates == [0.1, 0.1]
