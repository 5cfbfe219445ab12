"""Steps without a number that a run goes on after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from learners import (
    BURST,
    SCHEDULES,
    Learns,
    batches,
    one_by_one,
    same,
    sgd,
    small,
    tensors,
    trained,
)
from torch import Tensor

from cnnctl.data.prepare import Batch
from cnnctl.errors import TrainingError
from cnnctl.nets.net import Net


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
@pytest.mark.parametrize("parts", [1, 2])
def test_an_undone_step_touches_nothing_but_the_rate(value, parts) -> None:
    states: list[list[Tensor]] = []
    task = Learns(small(), sgd(), rollback=True, clip=0.1)
    step = task._step

    def watched(optimizer: Any) -> None:
        step(optimizer)
        states.append(tensors(task))

    task._step = watched
    trained(task, one_by_one(batches(4 * parts, {2 * parts: value}, parts)))
    assert same(states[1], states[2])
    assert not same(states[2], states[3])
    assert task.rates == [0.5] * 2 * parts + [0.25] * parts


def test_a_fourth_step_without_a_number_ends_the_run() -> None:
    task = Learns(small(), sgd(), rollback=True)
    with pytest.raises(TrainingError) as caught:
        trained(task, one_by_one(batches(6, dict.fromkeys((0, 1, 3, 4), BURST))))
    text = "the loss or its gradient is not finite; 3 steps have been undone before"
    assert str(caught.value) == f"{text} (a lower learning rate: optimizer.lr=…)"
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
