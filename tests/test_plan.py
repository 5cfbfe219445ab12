from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from zoo import on_meta

from cnnctl.audit.budget import MOMENTUM
from cnnctl.audit.document import training_memory
from cnnctl.audit.step import Setting, measure
from cnnctl.commands import job
from cnnctl.config import compose, learning
from cnnctl.errors import ConfigError, NetError
from cnnctl.plan import Plan, scaled


def plan(*overrides: str) -> Plan:
    words = ["hardware=cpu", *overrides]
    with compose.opened():
        config, problems = compose.compose("train", words)
    assert problems == []
    return job.prepare(config, words).plan


def figures(found: Plan, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(found, name) for name in names)


def test_the_plan_of_the_main_road() -> None:
    document = plan().document()
    assert json.loads(json.dumps(document))["classes"] == list("0123456789")
    del document["device"]
    assert len(document.pop("images")) == 64
    feeds = document["feeds"]
    assert {split: feed["kind"] for split, feed in feeds.items()} == dict.fromkeys(
        ("train", "val", "test"), "memory"
    )
    assert feeds["train"]["bytes"] == 1259 * 32 * 32
    assert {"batch_size", "peak", "at_peak", "where"} <= set(document.pop("memory"))
    assert document == {
        "model": "lenet5", "params": 61_706, "macs": 416_520, "shape": (1, 32, 32),
        "data": "digits", "classes": tuple("0123456789"),
        "sizes": {"train": 1259, "val": 179, "test": 359}, "skipped": {}, "augment": "shift_rotate",
        "windows": 1, "epochs": 40, "steps_per_epoch": 20, "steps": 800,
        "batch_size": 64, "global_batch": 64,
        "optimizer": "adam", "lr": 0.003, "scaling": None, "schedule": "cosine", "warmup_steps": 0,
        "seed": 0, "pretrained": None, "transfer": None, "feeds": feeds,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "steps_per_epoch", "steps", "epochs", "global_batch"),
    [
        (["trainer.max_epochs=3"], 20, 60, 3, 64),
        (["trainer.max_epochs=3", "data.batch_size=1259"], 1, 3, 3, 1259),
        (["trainer.max_epochs=3", "data.batch_size=1258"], 2, 6, 3, 1258),
        (["trainer.max_epochs=3", "trainer.accumulate=3"], 7, 21, 3, 192),
        (["trainer.max_epochs=3", "trainer.accumulate=19"], 2, 6, 3, 1216),
        (["trainer.max_epochs=3", "trainer.max_steps=20"], 20, 20, 1, 64),
        (["trainer.max_epochs=3", "trainer.max_steps=21"], 20, 21, 2, 64),
        (["trainer.max_epochs=3", "trainer.max_steps=100"], 20, 60, 3, 64),
        (["trainer.max_epochs=9", "trainer.max_steps=10", "trainer.accumulate=3"], 7, 10, 2, 192),
    ],
)
def test_steps_follow_batches_accumulation_and_the_earlier_end(
    overrides, steps_per_epoch, steps, epochs, global_batch
) -> None:
    found = figures(plan(*overrides), "steps_per_epoch", "steps", "epochs", "global_batch")
    assert found == (steps_per_epoch, steps, epochs, global_batch)


@pytest.fixture
def gpus(monkeypatch) -> None:
    """Four GPUs that torch believes in."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)


def test_an_epoch_has_so_many_windows_of_each_image() -> None:
    found = plan(
        "data=shapes", "data.images=20", "data.size=16", "data.batch_size=8", "data.windows=3",
        "model=unet_small", "trainer.accumulate=2", "trainer.max_epochs=5",
    )  # fmt: skip
    images = found.sizes["train"] * 3  # in batches of 8, and steps of 16
    assert figures(found, "windows", "steps_per_epoch", "steps") == (
        3, -(-images // 16), 5 * -(-images // 16)
    )  # fmt: skip
    assert images > 2 * 16


def test_several_devices_share_an_epoch(gpus) -> None:
    found = plan("hardware=multi_node", "trainer.max_epochs=1")
    assert figures(found, "steps_per_epoch", "global_batch") == (math.ceil(1259 / 8 / 64), 512)
    assert figures(found.device, "local", "world", "devices", "num_nodes") == (4, 8, 4, 2)


@pytest.mark.parametrize(
    ("warmup", "steps"), [("0", 0), ("2epochs", 40), ("7steps", 7), ("10%", 10), ("100%", 100)]
)
def test_a_warmup_is_counted_in_steps(warmup, steps) -> None:
    found = plan("trainer.max_epochs=5", f"schedule.warmup={warmup}")
    assert figures(found, "steps", "warmup_steps") == (100, steps)


def test_a_warmup_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        plan("trainer.max_epochs=5", "trainer.max_steps=30", "schedule.warmup=31steps")
    assert str(caught.value) == "schedule.warmup=31steps is longer than the 30 steps of the run"
    assert [problem.key for problem in caught.value.problems] == ["schedule.warmup"]


@pytest.mark.parametrize(
    ("scaling", "batch", "lr"),
    [
        ("none", 1024, 0.1),
        ("linear", 1024, 0.4),
        ("linear", 64, 0.025),
        ("sqrt", 1024, 0.2),
        ("sqrt", 64, 0.05),
        ("linear", 256, 0.1),
    ],
)
def test_the_learning_rate_grows_with_the_global_batch(scaling, batch, lr) -> None:
    optimizer = learning.Optimizer(
        name="sgd",
        lr=0.1,
        weight_decay=0,
        scaling=scaling,
        reference_batch=256,
        decay_norms=True,
        layer_decay=None,
    )
    assert scaled(optimizer, batch) == pytest.approx(lr, rel=1e-12)


def test_the_scaled_learning_rate_is_that_of_the_accumulated_batch() -> None:
    found = plan("optimizer.scaling=linear", "trainer.accumulate=8", "data.batch_size=64")
    assert found.lr == pytest.approx(0.003 * 512 / 256, rel=1e-12)


def test_a_net_that_cannot_see_the_images_is_refused_while_planning() -> None:
    with pytest.raises(NetError, match=r"^a 16x16 image is too small for layer 'c5': \(1 − 5\)/1"):
        plan("data.size=16")


def test_the_memory_of_a_step_is_predicted_in_the_plan() -> None:
    memory = plan().memory
    made = ("batch_size", "precision", "optimizer", "accelerator", "accumulate", "reason")
    assert [memory[name] for name in made] == [64, "32-true", "adam", "cpu", 1, None]
    weights = 4 * 61_706
    assert (memory["weights"], memory["gradients"]) == (weights, weights)
    assert memory["optimizer_state"] == 2 * weights + 4 * 10  # ten tensors have a counter each
    assert memory["batch"] == 64 * 4 * 1024
    assert memory["peak"] == sum(memory["at_peak"].values())
    assert "buckets" not in memory["at_peak"]


def test_the_prediction_is_that_of_the_audit() -> None:
    found = plan(
        "model=resnet20", "optimizer=sgd", "data.batch_size=16", "hardware.precision=64-true"
    )
    net = on_meta("resnet20", found.shape, len(found.classes))
    momentum = replace(MOMENTUM, weight_decay=0.0001)
    setting = Setting(16, momentum, "64-true", channels_last=True, figures=True)
    assert found.memory == training_memory(setting, measure(net, found.shape, setting))
    assert found.params == sum(value.numel() for value in net.parameters())


def test_accumulated_gradients_stay_while_the_next_batch_is_worked_off() -> None:
    one, three = plan().memory, plan("trainer.accumulate=3").memory
    assert (three["accumulate"], three["batch_size"]) == (3, 64)
    assert three["at_peak"]["gradients"] == three["gradients"] > one["at_peak"]["gradients"]
    assert three["peak"] > one["peak"]
    assert three["activations"] == one["activations"]


@pytest.mark.parametrize(
    ("batch", "images"), [(1258, 1258), (1259, 1259), (1260, 1259), (5000, 1259)]
)
def test_a_batch_has_no_more_images_than_the_data(batch, images) -> None:
    found = plan("model=mlp", f"data.batch_size={batch}")
    assert found.batch_size == batch
    assert found.memory["batch_size"] == images
    assert found.memory["batch"] == images * 4 * 1024


def test_several_devices_hold_their_gradients_twice(gpus) -> None:
    one, eight = plan("hardware=gpu").memory, plan("hardware=multi_node").memory
    assert eight["at_peak"]["buckets"] == eight["gradients"] >= 4 * 61_706
    assert eight["peak"] == one["peak"] + eight["gradients"]
    assert "buckets" not in one["at_peak"]
    assert (eight["accelerator"], eight["precision"], eight["batch_size"]) == (
        "gpu", "bf16-mixed", 64,
    )  # fmt: skip
    share = plan("hardware=multi_node", "data.batch_size=157").memory
    assert share["batch_size"] == 157 < math.ceil(1259 / 8)


SMALL = ("model=resnet18", "data.size=32", "trainer.max_epochs=1")
ONE = r"a batch of 1 cannot be trained on: Expected more than 1 value per channel when training"


def test_a_batch_that_cannot_be_trained_is_refused_before_anything_is_written(cnnctl) -> None:
    with pytest.raises(NetError, match=f"^{ONE}.*a larger batch_size"):
        plan(*SMALL, "data.batch_size=1")
    done = cnnctl("train", *SMALL, "data.batch_size=1", "hardware=cpu")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("cnnctl: error: a batch of 1 cannot be trained on")
    assert not Path("outputs").exists()


def test_one_image_that_is_left_for_the_last_batch_is_refused_as_well() -> None:
    with pytest.raises(NetError) as caught:
        plan(*SMALL, "data.batch_size=2")
    assert caught.value.message.startswith("one image is left for the last batch of an epoch, and ")
    assert str(caught.value).endswith(" (another data.batch_size)")


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.batch_size=3"],  # 1259 = 3 x 419 + 2
        ["data.batch_size=2", "trainer.max_steps=629"],  # ends before the last batch
        ["data.batch_size=2", "data.size=64"],  # maps of four pixels
        ["data.batch_size=2", "model=plain20"],
    ],
)
def test_a_rest_that_is_never_reached_or_large_enough_is_no_matter(overrides) -> None:
    assert plan(*SMALL, *overrides).memory["reason"] is None
