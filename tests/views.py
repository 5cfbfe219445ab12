"""Documents as commands make them, and the lines in which they are shown."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from cnnctl.report import console

RUN = "outputs/train/2026-11-21_14-03-19_lenet5_digits_7f3a"
MEMORY: dict[str, Any] = {"kind": "memory", "bytes": 1, "workers": 0, "file": None, "why": None}
CACHED = {**MEMORY, "kind": "map", "file": "cache", "bytes": 120_000_000}
FOUR = "decoded by 4 processes, 38 MB ready in each"
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
    "transfer": None, "scaling": None,
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
