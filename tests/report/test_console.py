from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from cnnctl.report import console
from cnnctl.report.result import Result

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
RUN = "outputs/train/2026-11-21_14-03-19_lenet5_digits_7f3a"
MEMORY: dict[str, Any] = {"kind": "memory", "bytes": 1, "workers": 0, "file": None, "why": None}
CACHED = {**MEMORY, "kind": "map", "file": "cache", "bytes": 120_000_000}
DECODED = {
    **MEMORY,
    "kind": "decode",
    "workers": 4,
    "bytes": 38_500_000,
    "why": "random crops want the whole images",
}
PLAN: dict[str, Any] = {
    "model": "lenet5", "params": 61706, "macs": 416520, "shape": [1, 32, 32], "data": "digits",
    "classes": list("0123456789"), "sizes": {"train": 1259, "val": 179, "test": 359},
    "skipped": {}, "feeds": dict.fromkeys(("train", "val", "test"), MEMORY),
    "augment": "shift", "epochs": 40, "steps_per_epoch": 20, "steps": 800,
    "batch_size": 64, "global_batch": 64, "optimizer": "adam", "lr": 0.003, "schedule": "cosine",
    "warmup_steps": 0, "seed": 0, "run": RUN, "pretrained": None,
    "device": {
        "accelerator": "cpu", "devices": 1, "num_nodes": 1, "precision": "32-true",
        "strategy": "auto", "name": "2 threads",
    },
    "memory": {
        "peak": 6_567_232, "at_peak": {"weights": 246_824, "activations": 2_082_600, "batch": 9},
    },
}  # fmt: skip
TRAINED: dict[str, Any] = {
    "run": RUN, "weights_sha256": "4a3ec60205876d5d" * 4, "params": 61706, "epochs": 40,
    "steps": 800, "seconds": 17.26, "images_per_second": 3726.28, "waiting": 0.0213,
    "peak_memory_bytes": 799985664,
    "best": {"epoch": 37, "weights_sha256": "0" * 64},
    "val": {"top1": 0.98882, "top5": 1.0, "loss": 0.0432},
    "test": {"top1": 0.98607, "top5": 0.99972, "loss": 0.05581}, "seed": 0,
    "memory": {"predicted": 6_567_232, "measured": 6_601_234, "error": -0.00515},
}  # fmt: skip
EVALUATED: dict[str, Any] = {
    "run": RUN, "checkpoint": f"{RUN}/checkpoints/best.ckpt", "split": "test", "n": 1500,
    "metrics": {"top1": 0.5, "top5": None, "loss": 1.25, "ece": 0.0312},
    "per_class": [
        {"class": "cat", "n": 1499, "recall": 0.5, "precision": 1.0, "f1": 2 / 3},
        {"class": "a dog with " + "a very " * 12 + "long name", "n": 1, "recall": 0.0,
         "precision": None, "f1": 0.0},
    ],
}  # fmt: skip
PAPER = "LeCun et al. 1998, Gradient-based learning applied to document recognition"
MODELS: dict[str, Any] = {
    "models": [
        {"name": "lenet5", "family": "lenet", "year": 1998, "paper": PAPER, "params": 61706,
         "macs": 416520, "input": [1, 32, 32], "classes": 10},
        {"name": "mynet", "family": "mlp", "year": 2026, "paper": None, "params": None,
         "macs": None, "input": [3, 224, 224], "classes": None},
    ],
}  # fmt: skip
VIEWS = {"plan": PLAN, "trained": TRAINED, "evaluated": EVALUATED, "listing": MODELS}


def lines(view: str, data: dict[str, Any], width: int = 120) -> list[str]:
    file = io.StringIO()
    console.VIEWS[view](
        Console(file=file, width=width, highlight=False, markup=False, no_color=True), data
    )
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("view", VIEWS)
def test_each_view_looks_as_it_did(view: str, width: int, *, overwrite: bool) -> None:
    text = "".join(f"{line.rstrip()}\n" for line in lines(view, VIEWS[view], width))
    golden = GOLDEN / f"{view}_{width}.txt"
    if overwrite:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("view", "data", "expected"),
    [
        ("plan", PLAN, 10),
        ("evaluated", EVALUATED, 3 + 1 + 4 + 1 + 2),
        ("listing", MODELS, 4),
        ("listing", {"data": [{"name": "d", "source": "s" * 200, "licence": "l" * 50}]}, 3),
        ("listing", {"runs": [{"run": "r" * 90, "model": "m", "data": "d", "state": "s"}]}, 3),
        ("listing", {"recipes": [{"name": "n", "about": "a" * 200}]}, 3),
        ("keys", {"keys": [{"key": "k", "value": "v" * 99, "source": "s" * 99}]}, 3),
    ],
)
def test_no_row_is_wrapped(view: str, data: dict[str, Any], expected: int, width: int) -> None:
    shown = lines(view, data, width)
    assert len(shown) == expected
    assert max(map(cell_len, shown)) <= width


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
            "loading    train decoded by 4 processes, 38 MB ready in each · val test decoded once, "
            + "240 MB in the cache",
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
    assert "top-5 error" not in lines("evaluated", EVALUATED)[0]


def test_runs_of_a_multirun_and_their_plans_stand_below_each_other() -> None:
    shown = lines("several", {"runs": [TRAINED, PLAN]}, 80)
    assert [number for number, line in enumerate(shown) if line == "─" * 80] == [0, 14]
    assert shown[15].startswith("net        lenet5")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (False, "false"), (1e-8, "1e-08"), ([1, 2], "[1, 2]")],
)
def test_values_are_shown_as_they_are_typed(value: object, text: str) -> None:
    rows = {"keys": [{"key": "k", "value": value, "source": "s"}]}
    assert re.split(r"  +", lines("keys", rows)[2].strip()) == ["k", text, "s"]


def test_results_go_to_stdout_and_what_is_going_on_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.render(Result("text", {"text": "[bold]as it is[/bold]\n"}))
    console.plan(console.out(stderr=True), PLAN)
    out, err = capsys.readouterr()
    assert out == "[bold]as it is[/bold]\n"
    assert err.splitlines() == lines("plan", PLAN)
    assert "\x1b" not in err


def test_every_view_that_a_command_names_exists() -> None:
    source = Path(console.__file__).parent.parent / "commands"
    text = "".join(file.read_text() for file in source.glob("*.py"))
    views = " ".join(re.findall(r"Result\(([^,]+),", text))
    assert set(re.findall(r'"(\w+)"', views)) == set(console.VIEWS)
    assert json.dumps(VIEWS)


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
