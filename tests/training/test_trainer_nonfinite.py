"""Runs with steps that give no finite number."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnctl import runs
from cnnctl.commands import job as jobs
from cnnctl.data.order import Order
from cnnctl.data.prepare import Prepare
from cnnctl.errors import TrainingError
from cnnctl.training import start, trainer


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_loss_that_is_no_number_ends_the_run(prepare, tmp_path) -> None:
    job = prepare("optimizer=sgd", "optimizer.lr=1e30", "trainer.max_epochs=3")
    folder = runs.create(str(tmp_path / "outputs"), "train", "x")
    with pytest.raises(TrainingError) as caught:
        jobs.work(job, folder)
    text = "step 3 (epoch 1, batch 3): c1.weight holds inf before the step"
    assert caught.value.message.startswith(text)
    assert str(caught.value.hint).endswith(f"see {folder}/nonfinite.json")
    found = json.loads((folder / "nonfinite.json").read_text())
    assert (found["step"], found["cause"], len(found["batch_images"])) == (3, "weights", 64)
    assert list((folder / "checkpoints").iterdir()) == []
    for file in ("result.json", "metrics.csv"):
        assert not (folder / file).exists()


@pytest.mark.parametrize("several", [True, False])
def test_the_step_without_a_number_is_named_as_it_was_made(
    prepare, tmp_path, monkeypatch, several
) -> None:
    """Its layer and its images are found in batches that are read once more."""
    job = prepare("augment=flip_crop", *["trainer.accumulate=2"] * (not several))
    sample = int(Order(1259, 0).of(0)[64 * 6 + 9])
    made = start.net

    def poisoned(*args: Any, **more: Any) -> Any:
        net = made(*args, **more)
        net.c1.register_forward_hook(lambda _, args, out: out + blow(args[0]))
        return net

    def blow(images: torch.Tensor) -> torch.Tensor:
        marked = images.flatten(1).amax(1) > 1e30
        return torch.where(marked, torch.nan, 0.0).view(-1, 1, 1, 1)

    prepared = Prepare.__call__

    def marking(self: Prepare, pixels: Any) -> Any:
        batch = prepared(self, pixels)
        batch.images[torch.from_numpy(batch.ticket.samples == sample), 0, 0, 0] = 2e30
        return batch

    folder = runs.create(str(tmp_path / "outputs"), "train", "x")
    monkeypatch.setattr(start, "net", poisoned)
    monkeypatch.setattr(Prepare, "__call__", marking)
    with pytest.raises(TrainingError) as caught:
        jobs.work(job, folder)
    step, name = (7 if several else 4), job.source.splits["train"].name(sample)
    assert caught.value.message.startswith(f"step {step} (epoch 1, batch 7): output of layer c1 ")
    assert f"; images: {name}" in caught.value.message


def test_a_step_without_a_number_is_undone_and_the_run_goes_on(
    prepare, tmp_path, monkeypatch
) -> None:
    job, told = prepare("on_nan=rollback", "schedule=constant", "optimizer.lr=0.01"), []
    prepared = Prepare.__call__

    def broken(self: Prepare, pixels: Any) -> Any:
        batch = prepared(self, pixels)
        return batch._replace(images=batch.images * (torch.nan if batch.ticket.number == 4 else 1))

    folder = runs.create(str(tmp_path / "outputs"), "train", "x")
    monkeypatch.setattr(Prepare, "__call__", broken)
    result = trainer.fit(job, folder, [], told.append)
    (row,) = rows(folder)
    assert (row["step"], row["images"], float(row["lr"])) == ("19", str(1259 - 64), 0.005)
    assert (result["steps"], len(told)) == (19, 1)
    assert told[0].endswith(": step undone, learning rate halved to 0.005")
    assert result["test"]["top1"] > 0.3


def test_a_loss_that_is_no_number_exits_with_1(cnnctl) -> None:
    words = ("optimizer=sgd", "optimizer.lr=1e30", "trainer.max_epochs=3", "hardware=cpu")
    done = cnnctl("train", *words, "progress=none", "--json")
    assert (done.code, done.document["error"]["kind"]) == (1, "training")
    text = "cnnctl: error: step 3 (epoch 1, batch 3): c1.weight holds inf before the step ("
    assert done.err.splitlines()[-1].startswith(text)
