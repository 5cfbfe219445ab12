from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from cnnctl.commands import job
from cnnctl.config import compose, schema
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
    assert document == {
        "model": "lenet5", "params": 61_706, "macs": 416_520, "shape": (1, 32, 32),
        "data": "digits", "classes": tuple("0123456789"),
        "sizes": {"train": 1259, "val": 179, "test": 359}, "skipped": {}, "augment": "shift_rotate",
        "epochs": 40, "steps_per_epoch": 20, "steps": 800, "batch_size": 64, "global_batch": 64,
        "optimizer": "adam", "lr": 0.003, "schedule": "cosine", "warmup_steps": 0, "seed": 0,
        "pretrained": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "steps_per_epoch", "steps", "epochs", "global_batch"),
    [
        (["trainer.max_epochs=3"], 20, 60, 3, 64),
        (["trainer.max_epochs=3", "data.batch_size=1259"], 1, 3, 3, 1259),
        (["trainer.max_epochs=3", "data.batch_size=1258"], 2, 6, 3, 1258),
        (["trainer.max_epochs=3", "trainer.accumulate=3"], 7, 21, 3, 192),
        (["trainer.max_epochs=3", "trainer.accumulate=50"], 1, 3, 3, 3200),
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


def test_several_devices_share_an_epoch(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
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
    optimizer = schema.Optimizer(
        name="sgd", lr=0.1, weight_decay=0, scaling=scaling, reference_batch=256
    )
    assert scaled(optimizer, batch) == pytest.approx(lr, rel=1e-12)


def test_the_scaled_learning_rate_is_that_of_the_accumulated_batch() -> None:
    found = plan("optimizer.scaling=linear", "trainer.accumulate=8", "data.batch_size=64")
    assert found.lr == pytest.approx(0.003 * 512 / 256, rel=1e-12)


def test_a_net_that_cannot_see_the_images_is_refused_while_planning() -> None:
    with pytest.raises(NetError, match=r"^a 16x16 image is too small for layer 'c5': \(1 − 5\)/1"):
        plan("data.size=16")
