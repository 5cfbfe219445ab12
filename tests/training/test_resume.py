"""A run that is ended at any step, in any way, goes on to the same bits."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from resumed import BATCH_NORM, DROPOUT, FIRST_IS_BEST, MLP, Keep, fitted, told

from cnnctl import runs
from cnnctl.data.order import Ticket
from cnnctl.data.reading import Pixels, Reader
from cnnctl.training import trainer
from cnnctl.training.start import Job

SETTINGS = [
    (*MLP, "optimizer=sgd", "schedule=constant", "augment=mixup"),
    (*MLP, "optimizer=sgd", "optimizer.nesterov=true", "schedule=step", "schedule.every=1"),
    (*BATCH_NORM, "optimizer=adam", "schedule=multistep", "schedule.milestones=[1,2]"),
    (*DROPOUT, "optimizer=adamw", "schedule=cosine", "schedule.warmup=4steps", "trainer.clip=0.1"),
    (*MLP, "optimizer=rmsprop", "optimizer.centered=true", "optimizer.momentum=0.9"),
    (*MLP, "schedule=one_cycle", "augment=random_erasing", "data.balance=loss"),
    (*BATCH_NORM, "schedule=plateau", "schedule.patience=0", "hardware.precision=bf16-mixed"),
    (*MLP, "schedule=plateau", "schedule.patience=0", "schedule.warmup=5steps", "optimizer.lr=0.5"),
    (*BATCH_NORM, "trainer.accumulate=2", "data.batch_size=250", "augment=flip_crop"),
    (*BATCH_NORM, "trainer.ema=0.9", "trainer.label_smoothing=0.1", "augment=cutmix"),
    (*BATCH_NORM, "trainer.swa=50%", "trainer.swa_lr=0.01", "optimizer=sgd", "augment=flip_crop"),
    (*DROPOUT, "optimizer=adamw", "optimizer.decay_norms=false", "optimizer.layer_decay=0.5"),
    (*MLP, "data.balance=sample", "trainer.max_steps=8", "trainer.channels_last=false"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return runs.create(str(tmp_path / "outputs"), "train", "run")


@pytest.mark.parametrize("overrides", SETTINGS, ids=" ".join)
def test_whatever_is_learned_and_how_goes_on_to_the_same_bits(prepare, folder, overrides) -> None:
    job, keep = prepare(*overrides), Keep(folder)
    expected = fitted(job, folder, keep)
    steps = expected["steps"]
    names = ["step 1", "step 3", "epoch 1", "step 5", f"step {steps - 1}", f"step {steps}"]
    for name in [*names, "epoch 3", "trained"]:
        assert fitted(job, keep.kept[name]) == expected, name


@pytest.fixture
def instants(monkeypatch: pytest.MonkeyPatch) -> Callable[[Job, Path], tuple[Any, list[Path]]]:
    """Train, and keep what a kill leaves behind just before and after each file is renamed."""
    rename = Path.replace

    def train(job: Job, run: Path) -> tuple[dict[str, Any], list[Path]]:
        kept: dict[str, Path] = {}

        def keep() -> None:
            files = sorted(file for file in run.rglob("*") if file.is_file())
            digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
            name = hashlib.sha256(f"{files} {digest}".encode()).hexdigest()
            if name not in kept:
                kept[name] = run.with_name(f"{run.name} {len(kept)}")
                shutil.copytree(run, kept[name])

        def replace(file: Path, target: Path) -> Path:
            keep()
            place = rename(file, target)
            keep()
            return place

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            result = fitted(job, run)
        return result, [*kept.values()]

    return train


@pytest.mark.parametrize("best", [3, 1])
def test_a_kill_between_any_two_changes_on_disk_costs_nothing(
    prepare, folder, instants, best
) -> None:
    words = ("optimizer.lr=0.5",) if best == 3 else FIRST_IS_BEST
    job = prepare(*MLP, "data.batch_size=700", "optimizer=sgd", *words)
    expected, kept = instants(job, folder)
    assert expected["best"]["epoch"] == best
    assert len(kept) > 15
    for run in kept:
        assert fitted(job, run) == expected, sorted(run.rglob("*"))


def test_a_run_that_is_killed_again_and_again_gets_there(prepare, folder) -> None:
    job = prepare(*MLP)
    expected = fitted(job, folder)
    run = runs.create(str(folder.parent), "train", "often")
    for step in range(1, 10):
        with pytest.raises(RuntimeError, match="killed"):
            trainer.fit(job, run, [Killed(step)])
    result = trainer.fit(job, run, [])
    assert told(run, result) == expected
    assert result["resumed"] == [*range(1, 10)]


class Killed(pl.Callback):
    """Ends the run without a word, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("killed")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small JPEGs of two classes."""
    root, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 5), ("test", 5)):
        for label, light in (("cat", 60), ("dog", 180)):
            place = root / split / label
            place.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(light - 60, light + 60, (12, 12, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.jpg")
    return root


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """(epoch, batch) of the training batches that were read since the last call, sorted.

    Also of loader processes, which inherit what is patched here.
    """
    log, read = tmp_path / "reads", Reader.batch

    def noted(self: Reader, ticket: Ticket) -> Pixels:
        if ticket.epoch is not None:
            with log.open("a") as file:
                file.write(f"{ticket.epoch} {ticket.number}\n")
        return read(self, ticket)

    monkeypatch.setattr(Reader, "batch", noted)

    def found() -> list[Any]:
        lines = log.read_text().splitlines()
        log.unlink()
        return sorted(tuple(int(word) for word in line.split()) for line in lines)

    return found


def test_loader_processes_change_nothing_and_no_batch_that_is_past_is_read_again(
    prepare, folder, pictures, reads
) -> None:
    words = (
        "data=folder", f"data.root={pictures}", "data.cache=never", "data.size=8",
        "data.batch_size=8", "model=mlp", "model.hidden=[4]", "model.input=[3,8,8]",
        "augment=resized_crop", "trainer.max_epochs=2", "checkpoint.every=1steps",
    )  # fmt: skip
    found, batches = [], [(epoch, number) for epoch in range(2) for number in range(5)]
    for workers in range(3):
        job = prepare(*words, f"data.workers={workers}")
        assert job.plan.feeds["train"].workers == workers
        run = runs.create(str(folder.parent), "train", f"workers{workers}")
        keep = Keep(run)
        found.append(fitted(job, run, keep))
        assert reads() == batches
        for step in (3, 5, 7)[workers : workers + 2]:
            assert fitted(job, keep.kept[f"step {step}"]) == found[-1]
            assert sorted(set(reads())) == batches[step:]  # Lightning may begin an epoch twice
    assert found[0] == found[1] == found[2]


def test_a_constant_schedule_is_extended_to_what_a_longer_run_gives(prepare, folder) -> None:
    words = (*BATCH_NORM, "schedule=constant", "trainer.max_epochs=2")
    fitted(prepare(*words), folder)
    run = runs.create(str(folder.parent), "train", "longer")
    longer = prepare(*words, "trainer.max_epochs=4")
    assert fitted(longer, folder) == fitted(longer, run)


def test_nothing_else_that_draws_numbers_changes_a_run(prepare, folder) -> None:
    job = prepare(*DROPOUT)
    expected = fitted(job, folder)
    run = runs.create(str(folder.parent), "train", "drawn")

    class Draws(pl.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            torch.rand(3)
            np.random.rand(3)  # noqa: NPY002 - the global generator is the point

    assert fitted(job, run, Draws()) == expected
