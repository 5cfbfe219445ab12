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
    "windows": 1, "skipped": {}, "feeds": dict.fromkeys(("train", "val", "test"), MEMORY),
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
FOLDER = "outputs/evaluate/2026-11-21_14-11-40_lenet5_digits_91c2"
EVALUATED: dict[str, Any] = {
    "target": "latest", "run": RUN, "checkpoint": f"{RUN}/checkpoints/best.ckpt", "split": "test",
    "weights_sha256": "0" * 64, "n": 1500,
    "metrics": {
        "top1": 0.5, "top1_error": 0.5, "top5": None, "top5_error": None, "loss": 1.25,
        "macro_precision": 1.0, "macro_recall": 0.25, "macro_f1": 1 / 3, "ece": 0.0312,
    },
    "intervals": {
        "top1": [0.4747, 0.5253], "top1_error": [0.4747, 0.5253], "top5": None,
        "top5_error": None, "loss": [1.2, 1.31], "macro_precision": [0.9, 1.0],
        "macro_recall": [0.2, 0.3], "macro_f1": [0.31, 0.35], "ece": [0.0, 0.05],
    },
    "per_class": [
        {"class": "cat", "n": 1499, "recall": 0.5, "precision": 1.0, "f1": 2 / 3,
         "recall_interval": [0.4748, 0.5252]},
        {"class": "a dog with " + "a very " * 12 + "long name", "n": 1, "recall": 0.0,
         "precision": None, "f1": 0.0, "recall_interval": [0.0, 0.7935]},
    ],
    "confusion": [[750, 749], [0, 1]],
    "confused": [{"true": "cat", "predicted": "a dog with " + "a very " * 12 + "long name",
                  "n": 749}],
    "calibration": {
        "bins": [{"low": 0.6, "high": 2 / 3, "confidence": 0.62, "accuracy": 0.5, "n": 1500}],
        "ece": 0.0312, "loss": 1.25, "temperature": 1.437,
        "fitted_on": {"split": "val", "n": 179}, "reason": None,
        "after": {"ece": 0.0105, "loss": 1.1925, "bins": [
            {"low": 8 / 15, "high": 0.6, "confidence": 0.58, "accuracy": 0.5, "n": 1500},
        ]},
    },
    "robustness": None, "seconds": 0.51, "images_per_second": 2941.18, "folder": FOLDER,
    "files": ["result.json", "predictions.csv", "mistakes.png", "reliability.png",
              "confusion.png"],
}  # fmt: skip
OTHER = RUN.replace("7f3a", "04bd")
COMPARISON: dict[str, Any] = {
    "difference": 0.006, "interval": [-0.0018, 0.0138],
    "loss": {"difference": -0.01204, "interval": [-0.0311, 0.0072]},
    "both_right": 736, "only_first_right": 14, "only_second_right": 23, "both_wrong": 727,
    "test": "exact McNemar", "p": 0.1877, "better": None, "images_needed": 5372,
}  # fmt: skip
PAIRED: dict[str, Any] = {
    "n": 1500, "split": "test", "folder": FOLDER, "comparison": COMPARISON,
    "files": ["result.json", "predictions_1.csv", "predictions_2.csv"],
    "nets": [EVALUATED, {**EVALUATED, "run": "net.onnx", "checkpoint": "net.onnx"}],
}  # fmt: skip
TOGETHER: dict[str, Any] = {
    **EVALUATED, "run": None, "checkpoint": None,
    "ensemble": {
        "members": [{**EVALUATED, "name": path.rpartition("/")[2]} for path in (RUN, OTHER)],
        "mean_top1": 0.494, "best": 0, "best_top1": 0.5, "gain_over_best": COMPARISON,
        "gain_over_mean": {"difference": 0.006, "interval": [-0.001, 0.0125]},
        "loss_gain_over_mean": {"difference": 0.0213, "interval": [0.011, 0.0305]},
    },
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
VIEWS = {
    "plan": PLAN, "trained": TRAINED, "listing": MODELS,
    "evaluated": EVALUATED, "paired": PAIRED, "ensemble": TOGETHER,
}  # fmt: skip


def lines(view: str, data: dict[str, Any], width: int = 120) -> list[str]:
    file = io.StringIO()
    console.VIEWS[view](
        Console(file=file, width=width, highlight=False, markup=False, no_color=True), data
    )
    return file.getvalue().splitlines()
