from __future__ import annotations

from typing import Any

import pytest
from views import CACHED, DECODED, FOUR, PLAN, TRAINED, lines


def test_commands_are_never_cut_so_that_they_can_be_copied() -> None:
    long = {**TRAINED, "run": "outputs/" + "r" * 100}
    assert lines("trained", long, 80)[-2:] == [
        f"  cnnctl evaluate {long['run']}", f"  cnnctl train --config {long['run']}/config.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"feeds": {"train": CACHED, "val": CACHED}},
            "loading    decoded once, 240 MB in the cache",
        ),
        (
            {"feeds": {"train": DECODED, "val": CACHED, "test": CACHED}},
            f"loading    train {FOUR} · val test decoded once, 240 MB in the cache",
        ),
        (
            {"feeds": {"train": DECODED, "val": CACHED}},
            "train has no cache: random crops want the whole images",
        ),
        (
            {"feeds": {"train": {**DECODED, "workers": 0, "why": None}}},
            "loading    decoded as it goes",
        ),
        ({"epochs": 1, "steps": 20}, "steps      20: 1 epoch of 20 · global batch 64"),
        (
            {"warmup_steps": 1000},
            "optimizer  adam · learning rate 0.003 · cosine after 1,000 steps of warm-up",
        ),
        ({"scaling": "0.1 x 8"}, "optimizer  adam · learning rate 0.003 (0.1 x 8) · cosine"),
        (
            {"windows": 16},
            (
                "data       digits · 1×32×32 · 10 classes · "
                "train 1,259 × 16 windows · val 179 · test 359"
            ),
        ),
        ({"skipped": {"a.png": "broken"}}, "left out: a.png: broken"),
    ],
)
def test_a_plan_says_what_is_special(changes: dict[str, Any], line: str) -> None:
    assert line in lines("plan", PLAN | changes)
    assert line not in lines("plan", PLAN)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "1 cpu (2 threads) · 32-true"),
        ({"devices": [0, 2], "accelerator": "gpu", "name": "H200"}, "gpu 0, 2 (H200) · 32-true"),
        (
            {"num_nodes": 2, "devices": 4, "accelerator": "gpu", "name": "H200"},
            "2 nodes of 4 gpu (H200) · 32-true",
        ),
    ],
)
def test_devices_are_named(changes: dict[str, Any], text: str) -> None:
    plan = {**PLAN, "device": PLAN["device"] | changes}
    assert f"device     {text}" in lines("plan", plan)


@pytest.mark.parametrize(
    ("at_peak", "line"),
    [
        (
            {"weights": 2_400_000, "optimizer_state": 3_600_000, "activations": 1},
            "memory     a step will take 7 MB, 4 MB of it optimizer state",
        ),
        (
            {"activations": 1_234_000_000},
            "memory     a step will take 7 MB, 1.23 GB of it activations",
        ),
    ],
)
def test_a_plan_says_what_a_step_will_take_and_most_of_what(
    at_peak: dict[str, int], line: str
) -> None:
    assert line in lines("plan", PLAN | {"memory": {"peak": 6_567_232, "at_peak": at_peak}})


@pytest.mark.parametrize(
    ("measured", "error", "line"),
    [
        (6_601_234, -0.00515, "memory   predicted 12 MB · measured 7 MB · -0.52 %"),
        (6_601_234, 0.1, "memory   predicted 12 MB · measured 7 MB · +10.00 %"),
        (None, None, "memory   predicted 12 MB · not measured: it takes a second step"),
    ],
)
def test_a_run_says_how_far_off_the_prediction_was(
    measured: int | None, error: float | None, line: str
) -> None:
    memory = {"predicted": 12_000_000, "measured": measured, "error": error}
    assert line in lines("trained", TRAINED | {"memory": memory})


def test_the_memory_of_the_process_is_another_figure() -> None:
    assert "time     17.3 s · 3,726 images/s · 2 % waiting for images · process 800 MB" in lines(
        "trained", TRAINED
    )


def test_without_test_images_only_val_is_shown() -> None:
    shown = lines("trained", {**TRAINED, "test": None})
    assert [line.split()[0] for line in shown[:5] if line] == [
        "epoch", "─" * 57, "val", "time",
    ]  # fmt: skip


def test_the_top_5_error_needs_more_than_five_classes() -> None:
    assert "top-5 error" in lines("trained", TRAINED)[0]
    few = {split: {**TRAINED[split], "top5": None} for split in ("val", "test")}
    assert "top-5 error" not in lines("trained", TRAINED | few)[0]


@pytest.mark.parametrize(
    ("told", "row"),
    [
        ({"mode": "offline", "sync": "wandb sync x"}, "wandb    offline · wandb sync x"),
        ({"mode": "online", "url": "https://w/r"}, "wandb    online · https://w/r"),
        ({"mode": "disabled"}, "wandb    disabled"),
    ],
)
def test_a_run_with_wandb_says_where_its_figures_are(told: dict[str, str], row: str) -> None:
    assert row in lines("trained", TRAINED | {"wandb": told})


REGIME: dict[str, Any] = {
    "name": "finetune_all", "why": "every layer learns", "new": ["output"], "frozen": [],
    "stages": [], "unfreeze_every": None, "backbone_lr": 1, "freeze_norm": True,
    "learning": 61706,
}  # fmt: skip
STAGES = ["c5", "c3", "c1"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "finetune_all: every layer learns · 61,706 of 61,706 parameters learn"),
        (
            {"name": "feature_extract", "why": "the last layer learns", "learning": 850},
            "feature_extract: the last layer learns · 850 of 61,706 parameters learn",
        ),
        (  # as auto settles it: the others do not learn at all
            {"name": "feature_extract", "why": "few", "learning": 850, "backbone_lr": 0.1},
            "feature_extract: few · 850 of 61,706 parameters learn",
        ),
        (
            {"backbone_lr": 0.1, "new": ["aux", "output"]},
            (
                "finetune_all: every layer learns · 61,706 of 61,706 parameters learn"
                " · aux, output at lr, the others at 0.1 x lr"
            ),
        ),
        (
            {"stages": STAGES, "unfreeze_every": 2, "learning": 850},
            (
                "finetune_all: every layer learns · 850 of 61,706 parameters learn"
                " · one more of 3 stages every 2 epochs"
            ),
        ),
        (
            {"stages": STAGES, "unfreeze_every": 1, "learning": 850},
            (
                "finetune_all: every layer learns · 850 of 61,706 parameters learn"
                " · one more of 3 stages every epoch"
            ),
        ),
    ],
)
def test_a_plan_says_what_learns_and_how_fast(changes: dict[str, Any], text: str) -> None:
    plan = PLAN | {"transfer": REGIME | changes}
    assert f"transfer   {text}" in lines("plan", plan, 300)


def test_a_run_on_masks_is_told_by_overlaps() -> None:
    figures = {"loss": 0.5, "miou": 0.25, "dice": 0.5, "pixel_accuracy": 0.75}
    head, _, val, *_ = lines("trained", {**TRAINED, "val": figures, "test": None}, 80)
    named = [word.strip() for word in head.split("  ") if word.strip()]
    assert named == ["epoch 37 of 40", "mean IoU", "Dice", "pixel accuracy", "loss"]
    assert val.split() == ["val", "25.00", "%", "50.00", "%", "75.00", "%", "0.5"]
    assert "top-1" not in head
