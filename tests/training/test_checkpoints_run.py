"""Checkpoints of whole runs, and of several processes."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from cnnctl import runs, weights
from cnnctl.commands import job as jobs
from cnnctl.training import checkpoints as module
from cnnctl.training import trainer
from cnnctl.training.checkpoints import Agreed
from cnnctl.training.store import link

MLP = ("model=mlp", "model.hidden=[4]")


class Notes(pl.Callback):
    """Notes the step that last.ckpt is from after every list of batches."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "checkpoints/last.ckpt"
        self.found: list[tuple[int, int]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        step = weights.content(self.file)["global_step"] if self.file.is_file() else 0
        self.found.append((trainer.global_step, step))


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_as_many_steps_as_were_allowed_lie_between_two_checkpoints_or_a_list_more(
    prepare, tmp_path, steps
) -> None:
    job = prepare(*MLP, f"checkpoint.every={steps}steps")
    folder = runs.create(str(tmp_path / "outputs"), "train", "run")
    notes = Notes(folder)
    trainer.fit(job, folder, [notes])
    assert notes.found[-1][0] == 20
    kept = [0, *dict.fromkeys(kept for _, kept in notes.found if kept), 20]
    longest = max(later - before for before, later in itertools.pairwise(kept))
    assert longest < 2 * steps  # a list of batches is finished first


def test_checkpoints_need_no_code_and_hold_the_configuration_as_json(train) -> None:
    done = train("trainer.max_epochs=2", "schedule=constant", "optimizer.lr=0.01")
    folder = done.folder / "checkpoints"
    assert sorted(file.name for file in folder.iterdir()) == ["best.ckpt", "last.ckpt"]
    content = torch.load(folder / "last.ckpt", weights_only=True)
    about = json.loads(content["cnnctl"])
    assert about == {"schema": 1, "config": done.job.config, "classes": list("0123456789")}
    assert content["epoch"] == 1
    assert content["optimizer_states"]
    assert "loops" not in content
    assert content["place"]["epoch"] == 2
    assert content["callbacks"]["Checkpoints"]["best"][2] == 1


def test_a_run_that_was_killed_before_it_named_its_best_names_it_when_it_goes_on(
    prepare, tmp_path, monkeypatch
) -> None:
    job, place = prepare(*MLP, "trainer.max_epochs=2"), str(tmp_path / "outputs")
    whole = jobs.work(job, runs.create(place, "train", "whole"))
    folder, calls = runs.create(place, "train", "killed"), []

    def killed(file: Path, best: Path) -> None:
        calls.append(best)
        if len(calls) == 2:
            raise KeyError("killed")
        link(file, best)

    monkeypatch.setattr(module, "link", killed)
    with pytest.raises(KeyError, match="killed"):
        jobs.work(job, folder)
    result = jobs.work(job, folder)
    assert (result["best"], result["test"]) == (whole["best"], whole["test"])


def test_one_process_has_nothing_to_agree_on() -> None:
    agreed = Agreed()
    agreed.start(1)
    assert agreed.on(15, due=True) == (15, True)
    assert agreed.now(2, due=False) == (2, False)
    assert agreed.end().tolist() == [0, 0]
    assert agreed.same("weights")


TWO = """
import os, sys
from torch import distributed
from cnnctl.training.checkpoints import Agreed
distributed.init_process_group("gloo")
rank = distributed.get_rank()
agreed = Agreed()
agreed.start(2)
answers = [agreed.on(15 * (rank == 1 and step == 2), rank == 0 and step == 1) for step in range(5)]
last = agreed.on(2, False) if rank == 1 else agreed.on(0, True)
same = [agreed.same("weights"), agreed.same(f"weights of {rank}")]
print(answers, last, agreed.end().tolist(), agreed.end().tolist(), same)
distributed.destroy_process_group()
"""


def test_what_one_process_wants_all_do_after_the_next_step() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO], env={**os.environ, **world, "RANK": rank},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    told = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    nothing = (0, False)
    answers = [nothing, nothing, (0, True), (15, False), nothing]
    assert {out.strip() for out, _ in told} == {f"{answers} {nothing} [2, 1] [0, 0] [True, False]"}
