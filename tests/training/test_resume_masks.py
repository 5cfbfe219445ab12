"""A run on masks that is ended at any step goes on to the same bits, however the images come."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from resumed import Keep, fitted, told

from cnnctl import runs, weights
from cnnctl.data.prepare import Prepare
from cnnctl.errors import Stopped, TrainingError
from cnnctl.training import trainer

# Three epochs of three steps, the third of each on fewer images; a checkpoint after every step.
SHORT = (
    "data=shapes", "data.images=32", "data.size=16", "data.batch_size=8", "data.channels=1",
    "data.mean=[0.5]", "data.std=[0.25]", "model=unet_small", "model.widths=[4,8]",
    "trainer.max_epochs=3", "checkpoint.every=1steps", "optimizer.lr=0.01",
)  # fmt: skip
SETTINGS = [
    ("augment=shift_rotate", "data.balance=loss"),
    ("augment=deform", "model.norm=none", "model.dropout=0.5", "optimizer=sgd"),
    ("schedule=plateau", "schedule.patience=0", "hardware.precision=bf16-mixed"),
    ("trainer.accumulate=2", "data.batch_size=4", "trainer.clip=0.1", "loss=dice"),
    ("trainer.ema=0.9", "trainer.label_smoothing=0.1", "model.upsample=unpool"),
    ("trainer.swa=50%", "trainer.swa_lr=0.01", "augment=flip_crop", "trainer.test_flip=true"),
    ("loss=cross_entropy", "loss.border=[10,5]", "augment=resized_crop"),
    ("data.windows=2", "data.batch_size=16", "data.resize=20", "augment=flip_crop"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return runs.create(str(tmp_path / "outputs"), "train", "run")


@pytest.mark.parametrize("overrides", SETTINGS, ids=" ".join)
def test_whatever_is_learned_and_how_goes_on_to_the_same_bits(prepare, folder, overrides) -> None:
    job, keep = prepare(*SHORT, *overrides), Keep(folder)
    expected = fitted(job, folder, keep)
    assert (expected["steps"], expected["epochs"]) == (9, 3)
    for name in ("step 1", "step 3", "epoch 1", "step 5", "step 8", "epoch 3", "trained"):
        assert fitted(job, keep.kept[name]) == expected, name


class Signal(pl.Callback):
    """Asks the run to end, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("step", [2, 6])
def test_a_signal_ends_a_run_that_then_goes_on_to_the_same_bits(prepare, folder, step) -> None:
    job = prepare(*SHORT, "checkpoint.every=1h")
    expected = fitted(job, folder)
    run = runs.create(str(folder.parent), "train", "ended")
    with pytest.raises(Stopped):
        trainer.fit(job, run, [Signal(step)])
    result = trainer.fit(job, run, [])
    assert told(run, result) == expected
    assert all(after >= step for after in result["resumed"])


def test_a_longer_run_goes_on_from_a_shorter_one(prepare, folder) -> None:
    words = (*SHORT, "schedule=constant")
    fitted(prepare(*words, "trainer.max_steps=6"), folder)
    run = runs.create(str(folder.parent), "train", "longer")
    assert fitted(prepare(*words), folder) == fitted(prepare(*words), run)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty grey images of three sizes, each with a mask of two classes and an unknown edge."""
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir()
    for number in range(20):
        size = ((16, 16), (20, 24), (31, 17))[number % 3]
        mask = np.zeros(size, np.uint8)
        mask[4:11, 3 : 5 + number % 9] = 1
        image = (100 * mask + random.integers(40, 90, size)).astype(np.uint8)
        mask[0] = 255
        Image.fromarray(image).save(root / f"images/{number}.png")
        Image.fromarray(mask).save(root / f"masks/{number}.png")
    return root


def of_files(root: Path) -> tuple[str, ...]:
    return (
        *SHORT[2:], "data=folder_masks", f"data.root={root}", "data.classes=[background,cell]",
        "data.ignore=255", "data.test_fraction=0.2", "data.val_fraction=0.2",
        "augment=shift_rotate", "data.batch_size=4",
    )  # fmt: skip


def test_loader_processes_and_memory_change_nothing(prepare, folder, pictures) -> None:
    words, found = of_files(pictures), []
    for how in (("auto", 0), ("never", 0), ("never", 2)):
        job = prepare(*words, f"data.cache={how[0]}", f"data.workers={how[1]}")
        kind = "memory" if how[0] == "auto" else "decode"
        assert (job.plan.feeds["train"].kind, job.plan.feeds["train"].workers) == (kind, how[1])
        run = runs.create(str(folder.parent), "train", "workers")
        keep = Keep(run)
        found.append(fitted(job, run, keep))
        assert fitted(job, keep.kept["step 4"]) == found[-1]
    assert found[0] == found[1] == found[2]
    assert found[0]["val"]["loss"] > 0


def test_batches_of_measuring_change_no_figure(prepare, folder, pictures) -> None:
    """Images of several sizes, in batches of any number, are one set of pixels."""
    job = prepare(*of_files(pictures), "trainer.max_epochs=1")
    trainer.fit(job, folder, [])
    best = folder / "checkpoints/best.ckpt"
    found = []
    for size in (1, 2, 7):
        words = ("transfer=feature_extract", f"pretrained={best}", "optimizer.lr=1e-30")
        other = prepare(
            *of_files(pictures), *words, "trainer.max_steps=1", "augment=none",
            f"data.batch_size={size}",
        )  # fmt: skip
        run = runs.create(str(folder.parent), "train", "measured")
        found.append(trainer.fit(other, run, []))
    assert found[0]["test"] == pytest.approx(found[1]["test"], rel=1e-5)
    assert found[0]["test"] == pytest.approx(found[2]["test"], rel=1e-5)


def test_frozen_layers_keep_their_weights(prepare, folder) -> None:
    first = trainer.fit(prepare(*SHORT), folder, [])
    before = weights.read(folder / "checkpoints/best.ckpt").weights
    words = (*SHORT, f"pretrained={folder}/checkpoints/best.ckpt", "seed=1")
    for regime, learns in (
        ("feature_extract", {"final"}),
        ("finetune_top", {"final", "up1", "up1_1", "up1_1_norm", "up1_2", "up1_2_norm"}),
    ):
        job = prepare(*words, f"transfer={regime}")
        assert job.plan.transfer is not None
        run = runs.create(str(folder.parent), "train", regime)
        keep = Keep(run)
        result = fitted(job, run, keep)
        after = weights.read(run / "checkpoints/last.ckpt").weights
        changed = {name.partition(".")[0] for name in after
                   if not torch.equal(after[name], before[name])}  # fmt: skip
        assert changed == learns
        assert result["weights_sha256"] != first["weights_sha256"]
        assert fitted(job, keep.kept["step 4"]) == result


def test_the_images_of_a_step_without_a_number_are_named(prepare, folder, monkeypatch) -> None:
    job, prepared = prepare(*SHORT, "augment=none"), Prepare.__call__
    sample = 13

    def marking(self: Prepare, pixels: Any) -> Any:
        batch = prepared(self, pixels)
        if batch.ticket.epoch is not None:
            batch.images[torch.from_numpy(batch.ticket.samples == sample), 0, 0, 0] = torch.nan
        return batch

    monkeypatch.setattr(Prepare, "__call__", marking)
    with pytest.raises(TrainingError) as wrong:
        trainer.fit(job, folder, [])
    name = job.source.splits["train"].name(sample)
    assert "input of the net is NaN in 1 of " in wrong.value.message
    assert wrong.value.message.endswith(f"; images: {name}")
    found = json.loads((folder / "nonfinite.json").read_text())
    assert (found["cause"], found["images"]) == ("images", [name])


@pytest.mark.parametrize("loss", ["own", "dice", "focal"])
def test_a_layer_without_a_number_is_named_and_its_step_undone(
    prepare, folder, monkeypatch, loss
) -> None:
    job, made, told = prepare(*SHORT, "on_nan=rollback", f"loss={loss}"), trainer.start.net, []
    steps: list[int] = []

    def poisoned(*given: Any, **how: Any) -> Any:
        net = made(*given, **how)
        net.up1_1.register_forward_hook(blow)
        return net

    def blow(layer: Any, _: Any, output: torch.Tensor) -> torch.Tensor | None:
        if not layer.training or not torch.is_grad_enabled():
            return output * (torch.nan if len(steps) == 4 and layer.training else 1)
        steps.append(1)
        return output * torch.nan if len(steps) == 4 else output

    monkeypatch.setattr(trainer.start, "net", poisoned)
    result = trainer.fit(job, folder, [], told.append)
    assert result["undone"] == [[1, 0]]
    assert result["steps"] == 8
    (line,) = told
    assert line.startswith(
        "step 4 (epoch 2, batch 1): output of layer up1_1 (Conv2d 4x16x16) is NaN"
    )
    assert "step undone" in line


@pytest.mark.slow
def test_two_processes_learn_what_one_does_from_all_their_images(cnnctl, tmp_path) -> None:
    """And measure the same pixels, each of them once."""
    words = (
        "train", *SHORT, "model.norm=none", "optimizer=sgd", "augment=none", "data.images=40",
        "hardware=cpu", "progress=none", "trainer.max_epochs=2", "schedule=constant", "--json",
    )  # fmt: skip
    found = {}
    for devices in (1, 2):
        own = (f"hardware.devices={devices}", f"data.batch_size={8 // devices}")
        found[devices] = cnnctl(*words, *own, f"outputs={tmp_path / str(devices)}").document[
            "result"
        ]
    one, two = (
        weights.read(Path(each["run"], "checkpoints/last.ckpt")).weights for each in found.values()
    )
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], rtol=0, atol=1e-4)
    for split in ("val", "test"):
        assert found[2][split] == pytest.approx(found[1][split], abs=2e-3)
