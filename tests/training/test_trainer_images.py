"""Nets that make images anew learn, and do so exactly: beside loops written by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from resumed import Keep, fitted
from torch import Tensor
from torch.nn.functional import mse_loss

from cnnctl import nets, runs, weights
from cnnctl.data.order import Order, Ticket
from cnnctl.data.prepare import Prepare
from cnnctl.data.reading import Reader, Whole
from cnnctl.errors import TrainingError
from cnnctl.training import start, trainer

TINY = (
    "model=autoencoder", "model.widths=[4,8]", "model.code=6", "data.size=8",
    "data.batch_size=500", "optimizer.lr=0.01",
)  # fmt: skip
PLAIN = (*TINY, "augment=none", "schedule=constant")
SGD = ("optimizer=sgd", "optimizer.lr=0.1")
STEPS = "trainer.max_steps=3"
MEAN, STD = 0.3057, 0.3241


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def whole(source: Any, split: str) -> Tensor:
    """All images of a split, normalised in the order that cnnctl chose."""
    pixels = torch.stack([source.splits[split][i] for i in range(source.sizes[split])])
    deviation = torch.tensor(STD) * 255
    return pixels.float() * (1 / deviation) + -torch.tensor(MEAN) * 255 / deviation


def last(done: Any) -> dict[str, Tensor]:
    return weights.read(done.folder / "checkpoints/last.ckpt").weights


def close(found: dict[str, Tensor], wanted: dict[str, Tensor], atol: float = 1e-5) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-3, atol=atol)


def test_it_learns_and_its_figures_are_those_of_the_saved_net(train) -> None:
    job, folder, result = train(*TINY, "data.batch_size=32", "trainer.max_epochs=3")
    found = rows(folder)
    assert found[-1]["train/loss"] < found[0]["train/loss"]
    assert found[-1]["val/explained"] > found[0]["val/explained"]
    assert result["task"] == "reconstruct"
    net = nets.build(job.spec, num_classes=10, shape=job.plan.shape).eval()
    weights.load(net, weights.read(folder / "checkpoints/best.ckpt"))
    for split in ("val", "test"):
        images = whole(job.source, split)
        with torch.no_grad():
            error = (net(images) - images).double().square()
        mse = error.mean() * STD**2
        expected = {
            "loss": error.mean().item(),
            "mse": mse.item(),
            "psnr": -10 * mse.log10().item(),
            "explained": 1 - (error.mean() / images.double().var(correction=0)).item(),
        }
        assert result[split] == pytest.approx(expected, rel=1e-4)
        assert list(result[split]) == list(expected)
    best = max(row["val/explained"] for row in found)
    assert result["val"]["explained"] == pytest.approx(best)
    assert result["test"]["explained"] > 0.3


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_training_is_bit_for_bit_the_plain_loop(train, norm) -> None:
    done = train(*PLAIN, f"model.norm={norm}", "trainer.max_epochs=2")
    torch.manual_seed(0)
    job = done.job
    net = nets.build(job.spec, num_classes=10, shape=job.plan.shape).train()
    images = whole(job.source, "train")
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, fused=True)
    for epoch in range(2):
        for chosen in torch.from_numpy(Order(len(images), 0).of(epoch)).split(500):
            optimizer.zero_grad()
            given = torch.stack(images[chosen].unbind(1), 3).permute(0, 3, 1, 2)
            (net(given) - given).square().mean().backward()
            optimizer.step()
    found, expected = last(done), net.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


def test_accumulating_steps_as_one_large_batch_does(train) -> None:
    small = train(*PLAIN, *SGD, STEPS, "trainer.accumulate=2", "data.batch_size=250")
    close(last(small), last(train(*PLAIN, *SGD, STEPS)))


def test_a_batch_in_pieces_has_the_gradient_of_the_batch(train, monkeypatch) -> None:
    plain, made = train(*PLAIN, *SGD, STEPS), start.task

    def cut(*given: Any, **how: Any) -> Any:
        task = made(*given, **how)
        task.gradient.pieces = 4
        return task

    monkeypatch.setattr(start, "task", cut)
    pieces = train(*PLAIN, *SGD, STEPS, "on_oom=split")
    close(last(pieces), last(plain))
    assert pieces.result["test"] == pytest.approx(plain.result["test"], rel=1e-3)


@pytest.mark.parametrize(
    "more",
    [
        ("trainer.ema=0.9", "augment=shift_rotate", "model.upsample=unpool"),
        ("model.norm=batch", "trainer.accumulate=2", "data.batch_size=250", "augment=flip_crop"),
        ("schedule=plateau", "schedule.patience=0", "optimizer.lr=0.05"),
    ],
    ids=" ".join,
)
def test_a_run_that_is_ended_goes_on_to_the_same_bits(prepare, tmp_path, more) -> None:
    words = (*TINY, "trainer.max_epochs=2", "checkpoint.every=1steps", *more)
    folder = runs.create(str(tmp_path / "outputs"), "train", "run")
    job, keep = prepare(*words), Keep(folder)
    expected = fitted(job, folder, keep)
    for name in ("step 1", "step 2", "epoch 1", "step 4", "trained"):
        assert fitted(job, keep.kept[name]) == expected, name


@pytest.mark.parametrize(
    "more",
    [
        ("hardware.precision=bf16-mixed",), ("hardware.precision=64-true",), ("trainer.swa=50%",),
        ("trainer.clip=0.1",), ("augment=random_erasing",), ("data.balance=sample",),
        ("model.upsample=transposed",), ("trainer.channels_last=false",),
        ("data.channels=3", "data.mean=[0.3,0.3,0.3]", "data.std=[0.3,0.2,0.4]"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_way_to_learn_ends_with_figures(train, more) -> None:
    found = [train(*TINY, "trainer.max_epochs=2", *more).result for _ in range(2)]
    assert found[0]["weights_sha256"] == found[1]["weights_sha256"]
    assert found[0]["test"] == found[1]["test"]
    assert found[0]["test"]["explained"] < 1
    assert 0 < found[0]["test"]["loss"] < 10
    assert found[0]["undone"] == []


def test_what_is_wanted_is_changed_as_the_image_is(prepare) -> None:
    job = prepare(*TINY, "augment=random_erasing", "augment.erase=1")
    pixels = Reader(job.source.splits["train"], Whole(8), 0)
    prepared = Prepare(job.train, 10)
    for epoch in (0, None):
        order = Order(job.source.sizes["train"], 0).of(0)[:9]
        batch = prepared(pixels.batch(Ticket(order, epoch)))
        assert batch.labels is batch.images
    plain = Prepare(prepare("model=mlp", "data.size=8", "augment=random_erasing").train, 10)
    assert plain(pixels.batch(Ticket(order, None))).labels.dtype == torch.int64


def test_the_memory_of_a_step_is_foretold_to_a_hundredth(train) -> None:
    for more in ((), ("model.upsample=unpool",), ("trainer.accumulate=2", "data.batch_size=16")):
        done = train(*PLAIN, "data.size=32", "data.batch_size=32", "trainer.max_steps=2", *more)
        memory = done.result["memory"]
        assert abs(memory["error"]) < 0.01, memory


def test_an_image_and_its_mirror_image_are_measured_as_one(train) -> None:
    job, folder, result = train(*TINY, "trainer.test_flip=true", STEPS)
    net = nets.build(job.spec, num_classes=10, shape=job.plan.shape).eval()
    weights.load(net, weights.read(folder / "checkpoints/best.ckpt"))
    images = whole(job.source, "test")
    with torch.no_grad():
        made = (net(images) + net(images.flip(3)).flip(3)) / 2
    assert result["test"]["loss"] == pytest.approx(mse_loss(made, images).item(), rel=1e-5)


def test_the_first_value_that_is_no_number_is_named(prepare, tmp_path, monkeypatch) -> None:
    job = prepare(*PLAIN, "data.batch_size=8")
    folder = runs.create(str(tmp_path), "train", "run")
    made = start.net

    def broken(*given: Any, **how: Any) -> Any:
        net = made(*given, **how)
        with torch.no_grad():
            net.get_parameter("final.weight").mul_(1e30)
        return net

    monkeypatch.setattr(start, "net", broken)
    with pytest.raises(TrainingError, match=r"step 1 \(epoch 1, batch 1\): the loss is inf"):
        trainer.fit(job, folder, [])
    told = json.loads((folder / "nonfinite.json").read_text())
    assert (told["cause"], len(told["images"])) == ("loss", 8)
