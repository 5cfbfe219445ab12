from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchmetrics.classification import MulticlassCalibrationError

from cnnctl import nets, weights
from cnnctl.data.order import Order
from cnnctl.training import trainer

PLAIN = ("augment=none", "schedule=constant")


@pytest.fixture(scope="module")
def plain(train):
    """One epoch of LeNet-5 on digits with Adam."""
    return train(*PLAIN)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def whole(source: Any, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All images with mean 0 and deviation 1, normalised in the order that cnnctl chose."""
    part = source.splits[split]
    mean, deviation = torch.tensor(0.3057) * 255, torch.tensor(0.3241) * 255
    images = part.pixels.float() * (1 / deviation) + -mean / deviation
    return images, torch.from_numpy(part.labels)


def turned(images: torch.Tensor) -> torch.Tensor:
    """The same with channels_last strides, also of one channel, where torch sees no difference."""
    return torch.stack(images.unbind(1), 3).permute(0, 3, 1, 2)


def by_hand(source: Any, epochs: int, *, channels_last: bool) -> nn.Module:
    """The training loop of the textbooks; of cnnctl it has the order of the images alone."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip
    images, labels = whole(source, "train")
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003, fused=True)
    for epoch in range(epochs):
        order = torch.from_numpy(Order(len(labels), 0).of(epoch))
        for batch in order.split(64):
            optimizer.zero_grad()
            chosen = turned(images[batch]) if channels_last else images[batch]
            nn.functional.cross_entropy(net(chosen), labels[batch]).backward()
            optimizer.step()
    return net


@pytest.mark.parametrize(("epochs", "channels_last"), [(1, True), (2, True), (2, False)])
def test_training_is_bit_for_bit_the_plain_loop(plain, train, epochs, channels_last) -> None:
    layout = f"trainer.channels_last={str(channels_last).lower()}"
    done = plain if epochs == 1 else train(*PLAIN, "trainer.max_epochs=2", layout)
    expected = by_hand(done.job.source, epochs, channels_last=channels_last).state_dict()
    found = weights.read(done.folder / "checkpoints/last.ckpt").weights
    for (name, tensor), wanted in zip(found.items(), expected.values(), strict=True):
        assert torch.equal(tensor, wanted), name


def test_the_figures_are_those_of_the_saved_net(plain) -> None:
    job, folder, result = plain
    net = nets.build(job.spec, num_classes=10, shape=job.plan.shape)
    weights.load(net, weights.read(folder / "checkpoints/best.ckpt"))
    for split in ("val", "test"):
        images, labels = whole(job.source, split)
        with torch.no_grad():
            logits = net(images)
        top5 = (logits.topk(5).indices == labels[:, None]).any(1)
        expected = {
            "top1": (logits.argmax(1) == labels).double().mean().item(),
            "top5": top5.double().mean().item(),
            "loss": nn.functional.cross_entropy(logits, labels).item(),
        }
        if split == "test":
            calibration = MulticlassCalibrationError(10, n_bins=15)
            expected["ece"] = calibration(logits.softmax(1), labels).item()
        assert result[split] == pytest.approx(expected, rel=1e-5)


def test_the_result_holds_the_keys_of_the_contract(plain) -> None:
    job, folder, result = plain
    assert set(result) == {
        "run", "task", "weights_sha256", "params", "epochs", "steps", "seconds",
        "images_per_second", "peak_memory_bytes", "best", "val", "test", "seed", "versions", "git",
        "threads", "pretrained", "memory", "waiting", "resumed", "undone",
    }  # fmt: skip
    assert json.loads((folder / "result.json").read_text()) == result
    assert result["task"] == "classify"
    assert set(result["memory"]) == {"predicted", "measured", "error"}
    assert result["memory"]["predicted"] == job.plan.memory["peak"]
    last = weights.read(folder / "checkpoints/last.ckpt")
    assert result["weights_sha256"] == weights.sha256(last.weights)
    assert result["best"] == {"epoch": 1, "weights_sha256": result["weights_sha256"]}
    found = (result["run"], result["params"], result["epochs"], result["steps"], result["seed"])
    assert found == (str(folder), 61_706, 1, 20, 0)
    assert 0 < 1259 / result["images_per_second"] < result["seconds"]
    assert (job.plan.steps, result["resumed"]) == (20, [])


@pytest.mark.parametrize("more", [(), ("augment=shift", "data.workers=1")])
def test_one_seed_gives_the_same_weights_twice(train, more) -> None:
    short = ("trainer.max_steps=3", *more)
    first, again, other = (train(*short, f"seed={seed}").result for seed in (4, 4, 5))
    assert first["weights_sha256"] == again["weights_sha256"] != other["weights_sha256"]
    assert first["val"] == again["val"]


def test_the_seed_does_not_decide_who_is_in_which_split(prepare) -> None:
    one, other = (prepare(f"seed={seed}").source.splits for seed in (0, 1))
    for split in ("train", "val", "test"):
        assert torch.equal(one[split].pixels, other[split].pixels)


def test_a_saved_configuration_replays_to_the_same_weights(cnnctl) -> None:
    words = ("trainer.max_epochs=1", "hardware=cpu", "progress=none", "seed=6", "--json")
    first = cnnctl("train", *words).document["result"]
    again = cnnctl("train", "--config", f"{first['run']}/config.yaml", "--json").document["result"]
    assert first["run"] != again["run"]
    assert first["weights_sha256"] == again["weights_sha256"]
    assert first["test"] == again["test"]


@pytest.mark.parametrize(
    ("overrides", "steps", "images"),
    [
        (["trainer.max_steps=2"], [2], [128]),
        (["trainer.max_steps=20"], [20], [1259]),
        (["trainer.max_steps=23", "trainer.max_epochs=5"], [20, 23], [1259, 192]),
        (["trainer.max_steps=9", "trainer.accumulate=3", "trainer.max_epochs=5"],
         [7, 9], [1259, 384]),
        (["trainer.accumulate=3"], [7], [1259]),
        (["trainer.accumulate=19"], [2], [1259]),
    ],
)  # fmt: skip
def test_a_run_ends_where_the_plan_says_and_is_measured(train, overrides, steps, images) -> None:
    job, folder, result = train("model=mlp", "model.hidden=[4]", *overrides)
    found = rows(folder)
    assert [int(row["step"]) for row in found] == steps
    assert [int(row["images"]) for row in found] == images
    assert (result["epochs"], result["steps"]) == (job.plan.epochs, job.plan.steps)
    assert (len(steps), steps[-1]) == (job.plan.epochs, job.plan.steps)
    assert weights.read(folder / "checkpoints/last.ckpt").epoch == len(steps) - 1
    assert 0 < result["test"]["loss"] < 5
    assert result["val"]["top1"] == pytest.approx(
        max(float(row["val/top1"]) for row in found), abs=1e-6
    )


def test_accumulating_steps_as_one_large_batch_does(train) -> None:
    small, large = (
        weights.read(train(*PLAIN, "optimizer=sgd", *more).folder / "checkpoints/last.ckpt").weights
        for more in (["trainer.accumulate=4", "data.batch_size=32"], ["data.batch_size=128"])
        for more in ([*more, "trainer.max_steps=3"],)
    )
    for name, tensor in small.items():
        torch.testing.assert_close(tensor, large[name], rtol=1e-4, atol=1e-5)


def test_clipping_bounds_the_step(train) -> None:
    options = (
        "optimizer=sgd",
        "optimizer.lr=1",
        "optimizer.momentum=0",
        "optimizer.weight_decay=0",
    )
    job, folder, _ = train(*PLAIN, *options, "trainer.max_steps=1", "trainer.clip=0.01")
    torch.manual_seed(0)
    start = nets.build(job.spec, num_classes=10, shape=job.plan.shape).state_dict()
    end = weights.read(folder / "checkpoints/last.ckpt").weights
    moved = sum((end[name] - start[name]).square().sum().item() for name in start) ** 0.5
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_few_classes_have_no_top5_and_a_missing_test_no_figures(train, photos) -> None:
    root = photos({"train": {"cat": 12, "dog": 12}})
    grey = ["data.channels=1", "data.mean=[0.5]", "data.std=[0.2]"]
    job, folder, result = train("data=folder", f"data.root={root}", *grey, "trainer.max_epochs=3")
    assert result["test"] is None
    assert result["val"]["top5"] is None
    assert not [name for name in rows(folder)[0] if "top5" in name]
    assert job.plan.sizes == {"train": 22, "val": 2}


def test_figures_of_a_split_that_is_not_there_are_null() -> None:
    assert trainer.figures(None) is None
    few = {"top1": 0.5, "loss": 1.0, "epoch": 3.0}
    assert trainer.figures(few) == {"top1": 0.5, "top5": None, "loss": 1.0}
    many = {"top1": 0.5, "top5": 1.0, "loss": 1.0, "ece": 0.1}
    assert trainer.figures(many) == many
