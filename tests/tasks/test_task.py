"""What every task does with an epoch, whatever it counts."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnctl.config import tasks
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.nets.net import Net
from cnnctl.nets.segmenter import Segmenter
from cnnctl.tasks import task as kinds
from cnnctl.tasks.classify import Classify
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.segment import Segment
from cnnctl.tasks.task import Task
from cnnctl.training import start


def classify(**how: Any) -> Task:
    torch.manual_seed(0)
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten(), dense=nn.Linear(12, 3))
    return Classify(Net(layers, "torch"), 3, **how)


def segment(**how: Any) -> Task:
    torch.manual_seed(0)
    return Segment(Segmenter(OrderedDict(final=nn.Conv2d(1, 3, 1)), "torch"), 3, **how)


def batch(kind: str, seed: int, images: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    size = (images,) if kind == "classify" else (images, 1, 3, 4)
    labels = torch.randint(0, 3, size, generator=generator)
    labels = labels if kind == "classify" else labels.to(torch.uint8)
    given = torch.randn(images, 1, 3, 4, generator=generator)
    return Batch(given, labels, Ticket(np.arange(images), None))


@pytest.fixture(params=["classify", "segment"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make(kind: str) -> Any:
    """A task without a trainer of Lightning's: one process, which adds nothing to its sums."""

    def made(world: int = 1, rank: int = 0, **how: Any) -> Task:
        task: Any = {"classify": classify, "segment": segment}[kind](**how).eval()
        strategy = SimpleNamespace(reduce=lambda value, **_: value * world)
        task._trainer = SimpleNamespace(
            world_size=world, strategy=strategy, global_rank=rank, lightning_module=task
        )
        task.judged = []
        task.over = task.judged.append
        return task

    return made


def measured(task: Task, given: Batch) -> Measured:
    with torch.no_grad():
        return task.measured(given)


def epoch(task: Task, train: list[Batch], val: list[Batch]) -> None:
    """As Lightning does it: val lies within the epoch of training."""
    task.on_train_epoch_start()
    for one in train:
        task.count("train", measured(task, one))
    task.on_validation_epoch_start()
    with torch.no_grad():
        task.validation_step(val, 0)
    task.on_validation_epoch_end()


def test_every_task_has_a_figure_by_which_it_is_judged() -> None:
    assert {name: made.FIGURE for name, made in start.TASKS.items()} == tasks.FIGURES
    assert Net.TASK == "classify"
    assert Segmenter.TASK == "segment"
    assert {tasks.of({"family": name}) for name in ("unet", "vgg", "autoencoder")} == set(
        tasks.FIGURES
    )


def test_an_epoch_is_settled_after_val_and_judged_by_its_figure(make, kind) -> None:
    task = make()
    train, val = [batch(kind, seed) for seed in (1, 2)], [batch(kind, 3, 5)]
    epoch(task, train, val)
    assert task.images == {"train": 8, "val": 5}
    for split, given in (("train", train), ("val", val)):
        tally = task.tally()
        for one in given:
            tally.add(measured(task, one))
        assert task.figures[split] == task.means(tally.sums)
    assert task.judged == [task.figures["val"][tasks.FIGURES[kind]]]
    assert list(task.figures["val"]) == list(task.figures["train"])


def test_each_epoch_and_each_test_starts_anew(make, kind) -> None:
    task = make()
    for seed in (1, 2):
        given = [batch(kind, seed)]
        epoch(task, given, given)
        task.on_test_epoch_start()
        with torch.no_grad():
            task.test_step(given, 0)
        task.on_test_epoch_end()
        assert task.images == {"train": 4, "val": 4, "test": 4}
        found = {name: task.figures["test"][name] for name in task.figures["val"]}
        assert found == task.figures["val"]
    assert len(task.judged) == 2


def test_val_alone_needs_no_training(make, kind) -> None:
    task = make()
    task.on_validation_epoch_start()
    with torch.no_grad():
        task.validation_step([batch(kind, 1)], 0)
    task.on_validation_epoch_end()
    assert list(task.figures) == ["val"]


def saved(task: Task, begun: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a checkpoint gets; what Steps does with it is another matter."""
    monkeypatch.setattr(kinds.Steps, "on_save_checkpoint", lambda *_: None)
    monkeypatch.setattr(kinds.Steps, "on_load_checkpoint", lambda *_: None)
    task.place.begun = begun
    checkpoint: dict[str, Any] = {}
    task.on_save_checkpoint(checkpoint)
    return checkpoint


def test_counting_goes_on_from_a_checkpoint_within_an_epoch(make, kind, monkeypatch) -> None:
    whole, first, rest = make(), make(), make()
    given = [batch(kind, seed) for seed in (1, 2, 3)]
    epoch(whole, given, given[:1])
    first.on_train_epoch_start()
    for one in given[:2]:
        first.count("train", measured(first, one))
    checkpoint = saved(first, 2, monkeypatch)
    assert all(isinstance(value, float) for value in checkpoint[kinds.COUNTED])
    rest.on_load_checkpoint(checkpoint)
    epoch(rest, given[2:], given[:1])
    for split in ("train", "val"):
        assert rest.figures[split] == pytest.approx(whole.figures[split])
    assert rest.images == whole.images
    epoch(rest, given[2:], given[:1])  # the next one has nothing from before
    assert rest.images["train"] == 4


@pytest.mark.parametrize("begun", [0, 2])
def test_a_checkpoint_between_two_epochs_holds_no_counts(make, kind, begun, monkeypatch) -> None:
    task = make()
    assert saved(task, begun, monkeypatch) == {kinds.COUNTED: []}
    epoch(task, [batch(kind, 1)], [batch(kind, 2)])
    assert bool(saved(task, begun, monkeypatch)[kinds.COUNTED]) is (begun > 0)


def test_of_several_processes_one_goes_on_with_what_all_had_counted(
    make, kind, monkeypatch
) -> None:
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_: None)
    task = make(world=3)
    epoch(task, [batch(kind, 1)], [batch(kind, 2)])
    assert task.images == {"train": 12, "val": 12}
    alone = task.means(task.tallies["val"].sums)
    assert task.figures["val"] == pytest.approx(alone)  # means of three times the same
    checkpoint = saved(task, 1, monkeypatch)
    for rank, images in ((0, 3 * 12 + 3 * 4), (2, 3 * 4)):
        other = make(world=3, rank=rank)
        other.on_load_checkpoint(checkpoint)
        epoch(other, [batch(kind, 1)], [batch(kind, 2)])
        assert other.images["train"] == images


def test_all_processes_measure_the_net_of_the_first(make, monkeypatch) -> None:
    sent: list[Tensor] = []
    monkeypatch.setattr(torch.distributed, "broadcast", lambda value, _: sent.append(value))
    for world, many in ((1, 0), (2, 1)):
        task = make(world=world)
        task.net.register_buffer("seen", torch.ones(2))
        task.on_validation_epoch_start()
        assert len(sent) == many


def test_what_is_measured_draws_no_gradient_and_leaves_the_net_alone(make, kind) -> None:
    task = make(mirror=True)
    before = [value.clone() for value in task.net.parameters()]
    epoch(task, [batch(kind, 1)], [batch(kind, 2)])
    assert all(torch.equal(*pair) for pair in zip(before, task.net.parameters(), strict=True))
    assert not any(tally.sums.requires_grad for tally in task.tallies.values())
