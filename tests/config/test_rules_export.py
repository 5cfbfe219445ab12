from __future__ import annotations

from typing import Any

import pytest

from cnnctl.config import rules_export
from cnnctl.config.verbs import Export


def broken(given: tuple[str, ...] = (), **changes: Any) -> list[str]:
    values: dict[str, Any] = {
        "checkpoint": "best", "format": "onnx", "include": None, "dynamic_batch": True,
        "precision": "fp32", "quantize": None, "images": 256, "tolerance": None,
        "raw_tolerance": None, "drop": 0.02, "output": None,
    }  # fmt: skip
    export = Export(**values | changes)
    return [str(problem) for problem in rules_export.broken(export, {*given, *changes})]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "fp16"},
        {"quantize": "int8"},
        {"quantize": "int8", "drop": 0.5, "dynamic_batch": False},
        {"include": ()},
        {"include": ("softmax",), "format": "torchscript"},
        {"format": "safetensors", "precision": "fp16", "tolerance": 0.1, "images": 3},
        {"format": "torch_export", "dynamic_batch": False, "tolerance": 0.1},
    ],
)
def test_these_go_together(changes: dict[str, Any]) -> None:
    assert broken(**changes) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"format": "safetensors", "include": ("softmax",)},
            (
                "include has no effect on safetensors, which holds weights alone "
                "(format=onnx or torch_export)"
            ),
        ),
        (
            {"format": "safetensors", "dynamic_batch": False},
            "dynamic_batch has no effect on safetensors, which holds weights alone (leave it out)",
        ),
        (
            {"include": ("softmax", "softmax")},
            "include names a part twice, got softmax,softmax (include=preprocess,softmax)",
        ),
        (
            {"format": "safetensors", "raw_tolerance": 0.1},
            "raw_tolerance has no effect on a file that does not resize (leave it out)",
        ),
        (
            {"format": "torchscript", "raw_tolerance": 0.1},
            "raw_tolerance has no effect on a file that does not resize (include=preprocess)",
        ),
        (
            {"include": ("softmax",), "raw_tolerance": 0.1},
            "raw_tolerance has no effect on a file that does not resize (include=preprocess)",
        ),
        (
            {"quantize": "int8", "raw_tolerance": 0.1},
            "raw_tolerance has no effect on int8, which is judged by what top-1 loses (drop=0.02)",
        ),
        (
            {"format": "torchscript", "quantize": "int8"},
            "quantize=int8 is made for onnx, got format=torchscript (format=onnx)",
        ),
        (
            {"precision": "fp16", "quantize": "int8"},
            (
                "quantize=int8 and precision=fp16: weights have one number format "
                "(leave one of them out)"
            ),
        ),
        (
            {"tolerance": 0.1, "quantize": "int8"},
            "tolerance has no effect on int8, which is judged by what top-1 loses (drop=0.02)",
        ),
        (
            {"drop": 0.1},
            "drop has no effect without quantize: no accuracy is given away (quantize=int8)",
        ),
    ],
)
def test_these_do_not(changes: dict[str, Any], line: str) -> None:
    assert broken(**changes) == [line]


def test_all_problems_come_at_once() -> None:
    given = {"format": "safetensors", "include": ("softmax",), "quantize": "int8", "tolerance": 1.0}
    assert len(broken(("dynamic_batch",), **given)) == 4


def test_hardware_is_told_why_it_has_no_effect() -> None:
    words = ["images=3", "hardware=gpu", "hardware.precision=16-true"]
    found = [str(problem) for problem in rules_export.elsewhere(words)]
    assert found == [
        f"'{word}' has no effect: an export is made and proven on the CPU (leave it out)"
        for word in words[1:]
    ]


@pytest.mark.parametrize(
    ("task", "changes", "line"),
    [
        ("classify", {"quantize": "int8"}, None),
        ("segment", {"format": "onnx"}, None),
        (
            "segment",
            {"quantize": "int8"},
            (
                "quantize=int8 is proven by top-1, which a net for masks has not"
                " (precision=fp16 halves the weights)"
            ),
        ),
        (
            "segment",
            {"raw_tolerance": 0.1},
            (
                "raw_tolerance has no effect on a net for masks: its file resizes nothing"
                " (tolerance=… is that of all sizes)"
            ),
        ),
        (
            "reconstruct",
            {"quantize": "int8"},
            (
                "quantize=int8 is proven by top-1, which a net that makes images anew has not"
                " (precision=fp16 halves the weights)"
            ),
        ),
        (
            "reconstruct",
            {"include": ("preprocess", "softmax")},
            (
                "include=softmax has no effect on a net that makes images anew: it gives"
                " intensities (include=preprocess)"
            ),
        ),
        ("reconstruct", {"include": ("preprocess",), "raw_tolerance": 0.1}, None),
        ("reconstruct", {}, None),
    ],
)
def test_what_a_net_cannot_have(task: Any, changes: dict[str, Any], line: str | None) -> None:
    values: dict[str, Any] = {
        "checkpoint": "best", "format": "onnx", "include": None, "dynamic_batch": True,
        "precision": "fp32", "quantize": None, "images": None, "tolerance": None,
        "raw_tolerance": None, "drop": 0.02, "output": None,
    }  # fmt: skip
    found = rules_export.of_task(Export(**values | changes), task)
    assert [str(problem) for problem in found] == ([] if line is None else [line])
