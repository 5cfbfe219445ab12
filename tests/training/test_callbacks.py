from __future__ import annotations

import csv
import errno
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cnnctl import nets, runs, weights
from cnnctl.commands import job as jobs
from cnnctl.errors import RunError, TrainingError
from cnnctl.tasks.classify import Classify
from cnnctl.training import callbacks, measure
from cnnctl.training.callbacks import AtomicIO, Checkpoints, EpochRecord


@pytest.fixture(scope="module")
def done(train):
    """Four epochs with a rate that rises from good to far too high."""
    rising = ("schedule=constant", "schedule.warmup=100%", "optimizer.lr=0.5")
    return train("trainer.max_epochs=4", *rising)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_epoch_has_one_complete_row(done) -> None:
    found = rows(done.folder)
    assert list(found[0]) == [
        "epoch", "step", "lr", "train/loss", "train/top1", "train/top5", "val/loss", "val/top1",
        "val/top5", "images", "seconds", "images_per_second", "waiting",
    ]  # fmt: skip
    assert [(row["epoch"], row["step"], row["images"]) for row in found] == [
        (str(epoch), str(20 * epoch), "1259") for epoch in (1, 2, 3, 4)
    ]
    for epoch, row in enumerate(found, start=1):
        numbers = {name: float(value) for name, value in row.items()}
        assert numbers["lr"] == pytest.approx(0.5 * 20 * epoch / 81, rel=1e-5)
        assert 0 < numbers["train/top1"] <= numbers["train/top5"] <= 1
        assert numbers["images_per_second"] == pytest.approx(1259 / numbers["seconds"], rel=1e-4)
        assert 0 <= numbers["waiting"] < 1


def test_the_train_figures_weigh_images_and_not_batches(train) -> None:
    still = ("augment=none", "optimizer=sgd", "optimizer.lr=1e-12")
    batches, at_once = (train(*still, f"data.batch_size={size}").folder for size in (100, 1259))
    (row,), (whole,) = rows(batches), rows(at_once)
    assert float(row["train/loss"]) == pytest.approx(float(whole["train/loss"]), rel=1e-5)
    assert row["train/top1"] == whole["train/top1"]


def test_best_is_the_epoch_of_the_best_row(done) -> None:
    found = rows(done.folder)
    best = max(found, key=lambda row: (float(row["val/top1"]), -float(row["val/loss"])))
    assert best["epoch"] == "1"
    assert done.result["best"]["epoch"] == 1
    assert done.result["val"]["top1"] == pytest.approx(float(best["val/top1"]), abs=1e-6)
    kept = weights.read(done.folder / "checkpoints/best.ckpt")
    assert kept.epoch == 0
    assert weights.sha256(kept.weights) == done.result["best"]["weights_sha256"]
    assert done.result["best"]["weights_sha256"] != done.result["weights_sha256"]


def test_the_test_is_that_of_the_best_epoch(done) -> None:
    job, folder, result = done
    net = nets.build(job.spec, num_classes=10, shape=job.plan.shape)
    found = {}
    for name in ("best", "last"):
        weights.load(net, weights.read(folder / f"checkpoints/{name}.ckpt"))
        found[name] = measure.measure(net, job.source, job.train, "test", job.plan.device)
    assert found["best"]["metrics"] == result["test"]
    assert found["last"]["metrics"]["top1"] < result["test"]["top1"]


def test_checkpoints_need_no_code_and_hold_the_configuration_as_json(done) -> None:
    folder = done.folder / "checkpoints"
    assert sorted(file.name for file in folder.iterdir()) == ["best.ckpt", "last.ckpt"]
    for name, epoch in (("best", 0), ("last", 3)):
        content = torch.load(folder / f"{name}.ckpt", weights_only=True)
        about = json.loads(content["cnnctl"])
        assert about == {"schema": 1, "config": done.job.config, "classes": list("0123456789")}
        assert content["epoch"] == epoch
        assert content["optimizer_states"]


class Saver:
    """As much of a Trainer as Checkpoints uses; saves the number of the epoch."""

    is_global_zero = True
    strategy = SimpleNamespace(barrier=lambda: None)
    epoch = 0

    def save_checkpoint(self, file: Path, *, weights_only: bool) -> None:
        assert not weights_only
        file.write_text(str(self.epoch))


def epochs(checkpoints: Checkpoints, figures: list[tuple[float, float]]) -> list[str]:
    """What best.ckpt holds after each epoch with (val/top1, val/loss)."""
    task, saver, best = Classify(torch.nn.Identity(), 2), Saver(), []
    for saver.epoch, (top1, loss) in enumerate(figures, start=1):
        task.figures["val"] = {"top1": top1, "loss": loss}
        checkpoints.on_train_epoch_end(saver, task)
        best.append((checkpoints.folder / "best.ckpt").read_text())
        assert (checkpoints.folder / "last.ckpt").read_text() == str(saver.epoch)
    return best


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(0.5, 1), (0.6, 2), (0.4, 0.1)], "122"),
        ([(0.5, 1), (0.5, 0.9), (0.5, 0.9), (0.5, 0.8)], "1224"),
        ([(0.0, 9), (0.0, 9)], "11"),
        ([(0.5, 1), (0.5, 1.1), (0.51, 3)], "113"),
    ],
)
def test_best_is_by_top1_and_then_by_loss(tmp_path, figures, best) -> None:
    assert epochs(Checkpoints(tmp_path, {}, ()), figures) == list(best)


def test_the_best_so_far_is_remembered_in_a_checkpoint(tmp_path) -> None:
    first = Checkpoints(tmp_path, {}, ())
    epochs(first, [(0.7, 1)])
    second = Checkpoints(tmp_path, {}, ())
    second.load_state_dict(first.state_dict())
    assert epochs(second, [(0.6, 1), (0.8, 1)]) == ["1", "2"]


def test_a_best_that_cannot_be_copied_leaves_the_old_one(tmp_path, monkeypatch) -> None:
    checkpoints = Checkpoints(tmp_path, {}, ())
    epochs(checkpoints, [(0.5, 1)])

    def full(_: Path, beside: Path) -> None:
        beside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(callbacks.shutil, "copyfile", full)
    with pytest.raises(RunError) as caught:
        epochs(checkpoints, [(0.6, 1)])
    assert str(caught.value) == f"cannot write {tmp_path / 'best.ckpt'}: No space left on device"
    assert (tmp_path / "best.ckpt").read_text() == "1"
    assert not list(tmp_path.glob(".*"))


def test_a_checkpoint_is_replaced_whole(tmp_path) -> None:
    AtomicIO().save_checkpoint({"a": 1}, tmp_path / "x.ckpt")
    AtomicIO().save_checkpoint({"a": 2}, str(tmp_path / "x.ckpt"))
    assert torch.load(tmp_path / "x.ckpt", weights_only=True) == {"a": 2}
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["x.ckpt"]


def test_a_checkpoint_in_a_missing_folder_is_refused(tmp_path) -> None:
    place = tmp_path / "no" / "x.ckpt"
    with pytest.raises(RunError) as caught:
        AtomicIO().save_checkpoint({}, place)
    assert str(caught.value) == f"cannot write {place}: No such file or directory"


def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_checkpoint() -> None:
    words = ["train", "trainer.max_epochs=1", "hardware=cpu", "progress=none"]
    limited = (
        "import resource, sys; from cnnctl.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *words], capture_output=True, text=True, check=False
    )
    (folder,) = Path("outputs/train").iterdir()
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    text = f"cnnctl: error: cannot write {folder}/checkpoints/last.ckpt: "
    assert [line[: len(text)] for line in errors] == [text]
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert list((folder / "checkpoints").iterdir()) == []
    assert not (folder / "result.json").exists()


def test_a_run_folder_that_vanishes_is_told(prepare, tmp_path) -> None:
    job = prepare("trainer.max_steps=1")
    folder = runs.create(str(tmp_path / "outputs"), "train", "x")
    shutil.rmtree(folder)
    with pytest.raises(RunError) as caught:
        jobs.work(job, folder)
    assert str(caught.value) == f"cannot write {folder}/metrics.csv: No such file or directory"


@pytest.mark.parametrize(("name", "value"), [("train", math.inf), ("val", math.nan)])
def test_a_record_with_a_loss_that_is_no_number_is_kept_and_refused(name, value) -> None:
    record, task = EpochRecord(), Classify(torch.nn.Identity(), 2)
    task.figures = {split: {"loss": 1.0, "top1": 0.5} for split in ("train", "val")}
    task.figures[name]["loss"] = value
    task.images["train"] = 10
    record._seconds = 2.0
    logged: list[dict[str, float]] = []
    logger = SimpleNamespace(log_metrics=lambda metrics, **_: logged.append(metrics))
    stub = SimpleNamespace(current_epoch=6, global_step=70, loggers=[logger])
    with pytest.raises(TrainingError, match=rf"^{name}/loss is {value} after epoch 7 \(a lower "):
        record.on_train_epoch_end(stub, task)
    assert logged == record.records
    assert (logged[0]["epoch"], logged[0]["step"], logged[0]["images_per_second"]) == (7, 70, 5.0)
