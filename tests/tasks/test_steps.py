from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from learners import BURST, Learns, batches, one_by_one, same, sgd, small, tensors, trained
from torch import Tensor, nn

from cnnctl.errors import TrainingError
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import SPLIT
from cnnctl.tasks.steps import NotFinite


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
    assert same(list(task.net.parameters()), list(good.net.parameters()))
    optimizer, other = task.trainer.optimizers[0], good.trainer.optimizers[0]
    found, wanted = (one.state_dict()["state"] for one in (optimizer, other))
    assert same([one["momentum_buffer"] for one in found.values()],
                [one["momentum_buffer"] for one in wanted.values()])  # fmt: skip
    assert len(task.rates) == 3


def test_the_very_first_step_leaves_no_state_behind() -> None:
    task = Learns(small(), sgd())
    with pytest.raises(TrainingError, match=r"^the loss or its gradient is not finite$"):
        trained(task, one_by_one(batches(2, {0: BURST})))
    assert dict(task.trainer.optimizers[0].state) == {}
    assert task.trainer.global_step == 0


def test_pieces_survive_a_checkpoint(tmp_path: Path) -> None:
    first, second = (Learns(small(), sgd()) for _ in range(2))
    first.gradient.pieces = 2
    trainer = trained(first, one_by_one(batches(2)))
    trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)
    trained(second, one_by_one(batches(3)), ckpt_path=tmp_path / "x.ckpt", weights_only=True)
    assert second.gradient.pieces == second.place.pieces == 2


def normed(*, batch_norm: bool, training: bool) -> Net:
    layers: dict[str, nn.Module] = {"norm": nn.BatchNorm1d(4)} if batch_norm else {}
    return Net(OrderedDict(**layers, head=nn.Linear(4, 3)), "torch").train(training)


@pytest.mark.parametrize(
    ("batch_norm", "training", "warned", "images"),
    [(True, True, True, 2), (True, False, False, 1), (False, True, False, 1)],
)
def test_a_net_with_batch_norm_is_told_that_pieces_are_not_the_same(
    *, batch_norm: bool, training: bool, warned: bool, images: int
) -> None:
    task = Learns(normed(batch_norm=batch_norm, training=training), sgd(), split=True)
    given, told, real, most = batches(1)[0], [], task.measure, 2 if batch_norm else 1

    def full(some: Tensor, labels: Tensor) -> Any:
        if len(some) > most + 1:
            raise torch.OutOfMemoryError("out of memory")
        return real(some, labels)

    task.gradient.measure, task.gradient.notice = full, told.append
    task.gradient.again = lambda _: given
    task._trainer = SimpleNamespace(world_size=1, precision="32-true")
    task.gradient.add(given, task)
    assert task.gradient.least == images
    assert told
    assert all((SPLIT in line) is warned for line in told)


def looked_at(grad: float, loss: float, *, rollback: bool = False, **trainer: Any) -> None:
    task = Learns(small(), None, rollback=rollback)
    task._trainer = SimpleNamespace(**{"world_size": 1, "precision": "32-true"} | trainer)
    task.gradient.losses = [torch.tensor(1.0), torch.tensor(loss)]
    for value in list(task.net.parameters())[1:]:  # the first is frozen
        value.grad = torch.full_like(value, grad)
    task.on_before_optimizer_step(torch.optim.SGD(task.net.parameters()))


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
