"""Nets for masks learn, and do so exactly: beside loops written by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from shaped import GREY, PLAIN, SGD, STEPS, TINY, close, last, rows, whole
from torch import nn
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_jaccard_index

from cnnctl import nets, weights
from cnnctl.data.order import Order


@pytest.fixture(scope="module")
def learned(train) -> Any:
    """360 steps of a small U-Net: 40 images of val and test each."""
    return train(
        *GREY, "model=unet_small", "model.widths=[16,32]", "data.images=300", "data.size=24",
        "data.noise=0", "data.batch_size=4", "optimizer.lr=0.01", "schedule=one_cycle",
        "schedule.warmup=30%", "trainer.max_epochs=8", "seed=1",
    )  # fmt: skip


def test_a_net_for_masks_learns_more_than_that_most_pixels_are_background(learned) -> None:
    job, folder, result = learned
    found = rows(folder)
    assert found[-1]["train/loss"] < found[0]["train/loss"] / 2
    _, masks = whole(job.source, "test")
    background = torch.zeros_like(masks)
    guess = float(multiclass_jaccard_index(background, masks.long(), 4))
    assert 0.2 < guess < 0.22
    assert result["test"]["miou"] > 1.4 * guess
    assert result["test"]["pixel_accuracy"] > (masks == 0).float().mean() + 0.01
    best = max(row["val/miou"] for row in found)
    assert result["val"]["miou"] == pytest.approx(best, abs=1e-6)


def test_the_figures_are_those_of_the_saved_net(learned) -> None:
    job, folder, result = learned
    net = nets.build(job.spec, num_classes=4, shape=job.plan.shape).eval()
    weights.load(net, weights.read(folder / "checkpoints/best.ckpt"))
    for split in ("val", "test"):
        images, masks = whole(job.source, split)
        with torch.no_grad():
            logits = net(images)
        guess, wanted = logits.argmax(1), masks[:, 0].long()
        both = [((guess == one) & (wanted == one)).sum() for one in range(4)]
        sizes = [(guess == one).sum() + (wanted == one).sum() for one in range(4)]
        expected = {
            "loss": cross_entropy(logits, wanted).item(),
            "miou": float(multiclass_jaccard_index(guess, wanted, 4)),
            "dice": sum(float(2 * a / b) for a, b in zip(both, sizes, strict=True)) / 4,
            "pixel_accuracy": (guess == wanted).double().mean().item(),
        }
        assert result[split] == pytest.approx(expected, rel=1e-4)
        assert list(result[split]) == list(expected)
    assert result["task"] == "segment"
    names = {f"{split}/{name}" for split in ("train", "val") for name in result["val"]}
    assert names <= set(rows(folder)[0])
    assert not [name for name in rows(folder)[0] if "top1" in name]


def by_hand(job: Any, epochs: int) -> nn.Module:
    """The training loop of the textbooks; of cnnctl it has the net and the order of the images."""
    torch.manual_seed(0)
    net = nets.build(job.spec, num_classes=4, shape=job.plan.shape).train()
    images, masks = whole(job.source, "train")
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, fused=True)
    for epoch in range(epochs):
        order = torch.from_numpy(Order(len(images), 0).of(epoch))
        for chosen in order.split(8):
            optimizer.zero_grad()
            given = torch.stack(images[chosen].unbind(1), 3).permute(0, 3, 1, 2)
            cross_entropy(net(given), masks[chosen, 0].long()).backward()
            optimizer.step()
    return net


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_training_is_bit_for_bit_the_plain_loop(train, norm) -> None:
    done = train(*TINY, f"model.norm={norm}", "schedule=constant", "trainer.max_epochs=2")
    expected = by_hand(done.job, 2).state_dict()
    found = last(done)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


def test_accumulating_steps_as_one_large_batch_does(train) -> None:
    small = train(*PLAIN, *SGD, STEPS, "trainer.accumulate=2", "data.batch_size=4")
    large = train(*PLAIN, *SGD, STEPS)
    assert small.result["steps"] == large.result["steps"] == 3
    close(last(small), last(large))


def test_an_image_and_its_mirror_image_are_measured_as_one(train) -> None:
    job, folder, result = train(*TINY, "trainer.test_flip=true", STEPS)
    net = nets.build(job.spec, num_classes=4, shape=job.plan.shape).eval()
    weights.load(net, weights.read(folder / "checkpoints/best.ckpt"))
    images, masks = whole(job.source, "test")
    with torch.no_grad():
        logits = (net(images) + net(images.flip(3)).flip(3)) / 2
    expected = cross_entropy(logits, masks[:, 0].long()).item()
    assert result["test"]["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_layout_in_memory_changes_roundings_alone(train) -> None:
    one, other = (
        last(train(*PLAIN, *SGD, STEPS, f"trainer.channels_last={how}"))
        for how in ("true", "false")
    )
    close(one, other)


@pytest.mark.parametrize(
    "more",
    [
        ("hardware.precision=bf16-mixed",), ("hardware.precision=64-true",),
        ("trainer.ema=0.5",), ("trainer.swa=50%",), ("trainer.clip=0.1",),
        ("loss=dice", "loss.cross_entropy=1"), ("loss=focal",),
        ("loss=cross_entropy", "loss.border=[10,5]"), ("model.upsample=unpool",),
        ("model.padded=false",), ("augment=shift_rotate",), ("augment=deform",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_way_to_learn_ends_with_figures(train, more) -> None:
    plain = ("trainer.max_epochs=2", "data.images=24", "data.batch_size=4")
    found = [train(*TINY, *plain, *more).result for _ in range(2)]
    assert found[0]["weights_sha256"] == found[1]["weights_sha256"]
    assert found[0]["test"] == found[1]["test"]
    assert 0 < found[0]["test"]["miou"] < 1
    assert 0 < found[0]["val"]["loss"] < 10
    assert found[0]["undone"] == []


def test_clipping_bounds_the_step(train) -> None:
    words = (*PLAIN, "optimizer=sgd", "optimizer.lr=1", "optimizer.momentum=0")
    done = train(*words, "optimizer.weight_decay=0", "trainer.max_steps=1", "trainer.clip=0.01")
    torch.manual_seed(0)
    fresh = nets.build(done.job.spec, num_classes=4, shape=done.job.plan.shape).state_dict()
    moved = sum((value - fresh[name]).square().sum().item() for name, value in last(done).items())
    assert moved**0.5 == pytest.approx(0.01, rel=1e-3)
