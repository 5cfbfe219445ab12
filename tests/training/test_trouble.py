"""What is said of steps without a number, and of steps for which there is no memory."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch

from cnnctl.data.module import DataModule
from cnnctl.data.order import Ticket
from cnnctl.errors import TrainingError
from cnnctl.tasks.classify import Classify
from cnnctl.training import start, trouble

TINY = ("model=mlp", "model.hidden=[8]", "data.size=8", "data.batch_size=5")
ADVICE = TrainingError("out of memory: far too much", "data.batch_size=1")


class Case(NamedTuple):
    """A task at the start of its 7th step, its data and the tickets of the first epoch."""

    task: Classify
    module: DataModule
    tickets: list[Ticket]


@pytest.fixture
def case(prepare, tmp_path: Path) -> Case:
    job = prepare(*TINY)
    module = DataModule(job.source, job.train)
    task = start.task(job, tmp_path, module, print, new=True)
    trainer: Any = SimpleNamespace(global_step=6, global_rank=0, world_size=1)
    task._trainer = trainer
    batches: Any = module.train_dataloader().batch_sampler
    tickets = [ticket for (ticket,) in batches]
    return Case(task, module, tickets)


def mark(case: Case, monkeypatch: pytest.MonkeyPatch, *samples: int) -> list[str]:
    """Let these images hold NaN; returns their names."""
    prepared = case.module.prepare

    def broken(pixels: Any) -> Any:
        batch = prepared(pixels)
        for place, sample in enumerate(batch.ticket.samples % 1259):
            if sample in samples:
                batch.images[place, 0, 0, 0] = torch.nan
        return batch

    monkeypatch.setattr(case.module, "prepare", broken)
    return [case.module.source.splits["train"].name(sample) for sample in samples]


def document() -> dict[str, Any]:
    return json.loads(Path("nonfinite.json").read_text())


def test_the_images_are_found_in_batches_that_are_read_again(case, monkeypatch) -> None:
    one, other = case.tickets[7].samples[[0, 3]]
    names = mark(case, monkeypatch, one, other)
    case.task.place.epoch = 2
    error, helps = case.task.explain(case.tickets[6:8])
    assert error.message.startswith("step 7 (epoch 3, batch 7): input of the net is NaN in 2 of ")
    assert f"; images: {', '.join(names)}" in error.message
    assert str(error.hint).endswith(f"see {Path.cwd() / 'nonfinite.json'}")
    assert helps
    told = document()
    assert (told["step"], told["epoch"], told["batch"], told["cause"]) == (7, 3, 7, "images")
    assert (told["images"], len(told["batch_images"])) == (names, 10)


def test_an_image_that_is_drawn_twice_has_one_name(case, monkeypatch) -> None:
    ticket = case.tickets[0]
    (name,) = mark(case, monkeypatch, ticket.samples[1])
    case.task.explain([ticket._replace(samples=ticket.samples + 1259)])
    assert document()["images"] == [name]


def test_going_on_does_not_help_once_the_weights_are_no_numbers(case) -> None:
    with torch.no_grad():
        case.task.net.output.bias[0] = torch.inf
    error, helps = case.task.explain(case.tickets[:1])
    assert "output.bias holds inf before the step" in error.message
    assert not helps
    assert document()["cause"] == "weights"


@pytest.mark.parametrize(("world", "written"), [(1, True), (2, False)])
def test_where_nothing_is_found_that_is_said(case, world, written) -> None:
    """Another process may have had the batch; its findings are not overwritten."""
    case.task._trainer.world_size = world
    error, helps = case.task.explain(case.tickets[:1])
    assert "but finite when this process makes the step again" in error.message
    assert helps
    assert Path("nonfinite.json").exists() is written


def test_what_was_found_is_kept_by_whichever_process_found_it(case, monkeypatch) -> None:
    mark(case, monkeypatch, case.tickets[0].samples[0])
    case.task._trainer.global_rank = 3
    case.task.explain(case.tickets[:1])
    assert document()["cause"] == "images"


@pytest.mark.parametrize(("pieces", "sizes"), [(1, [5, 5]), (2, [3, 2, 3, 2]), (8, [1] * 10)])
def test_the_step_is_made_again_in_the_pieces_in_which_it_was_made(
    case, monkeypatch, pieces, sizes
) -> None:
    """Each batch draws from its own word, and its pieces go on from one another."""
    seen: list[Any] = []
    monkeypatch.setattr(trouble.nonfinite, "examine", lambda *args: seen.append(args))
    case.task.gradient.pieces = pieces
    tickets = case.tickets[:2]
    case.task.explain(tickets)
    ((net, parts, seeds),) = seen
    assert net is case.task.net
    assert [len(images) for images, _ in parts] == sizes
    half = len(sizes) // 2
    rest = [None] * (half - 1)
    assert seeds == [tickets[0].word, *rest, tickets[1].word, *rest]
    expected = [case.module.again(ticket) for ticket in tickets]
    for place in (0, 1):
        whole = torch.cat([batch[place] for batch in expected])
        assert torch.equal(torch.cat([part[place] for part in parts]), whole)


def test_an_error_of_memory_becomes_advice() -> None:
    """By then nothing holds the tensors of the step any more."""
    kept: list[weakref.ref[torch.Tensor]] = []

    def step() -> None:
        tensor = torch.zeros(1)
        kept.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory")

    def advice() -> TrainingError:
        assert [one() for one in kept] == [None]
        return ADVICE

    with pytest.raises(TrainingError) as caught, trouble.told(advice):
        step()
    assert caught.value is ADVICE


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("MPS backend out of memory")])
def test_errors_of_other_devices_are_known(error) -> None:
    with pytest.raises(TrainingError), trouble.told(lambda: ADVICE):
        raise error


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), KeyError("x"), KeyboardInterrupt()]
)
def test_other_errors_stay_what_they_are(error) -> None:
    with pytest.raises(type(error)) as caught, trouble.told(lambda: ADVICE):
        raise error
    assert caught.value is error


def test_without_an_error_nothing_is_advised() -> None:
    with trouble.told(lambda: pytest.fail("no advice is wanted")):
        pass
