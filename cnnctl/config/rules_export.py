"""Rules between the keys of `cnnctl export`; all that can be told without torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from cnnctl.config.tasks import Task
from cnnctl.config.verbs import Export
from cnnctl.errors import Problem

WHOLE = ("onnx", "torch_export")  # formats that do everything by themselves unless told otherwise
NO_CLASS = {"segment": "a net for masks", "reconstruct": "a net that makes images anew"}


def broken(export: Export, given: Collection[str]) -> Iterator[Problem]:
    """Every rule that the keys break; `given` are those that stand on the command line."""
    if export.format == "safetensors":
        yield from _weights_alone(export, given)
    if export.include is not None and len(set(export.include)) < len(export.include):
        text = f"include names a part twice, got {','.join(export.include)}"
        yield Problem(text, "include=preprocess,softmax", "include")
    if export.raw_tolerance is not None and not _resizes(export):
        text = "raw_tolerance has no effect on a file that does not resize"
        only = export.format == "safetensors"
        yield Problem(text, "leave it out" if only else "include=preprocess", "raw_tolerance")
    if export.quantize is not None:
        yield from _integers(export)
    elif "drop" in given:
        text = "drop has no effect without quantize: no accuracy is given away"
        yield Problem(text, "quantize=int8", "drop")


def _resizes(export: Export) -> bool:
    if export.include is None:
        return export.format in WHOLE
    return "preprocess" in export.include


def _weights_alone(export: Export, given: Collection[str]) -> Iterator[Problem]:
    if export.include is not None:
        text = "include has no effect on safetensors, which holds weights alone"
        yield Problem(text, "format=onnx or torch_export", "include")
    if "dynamic_batch" in given:
        text = "dynamic_batch has no effect on safetensors, which holds weights alone"
        yield Problem(text, "leave it out", "dynamic_batch")


def _integers(export: Export) -> Iterator[Problem]:
    if export.format != "onnx":
        text = f"quantize=int8 is made for onnx, got format={export.format}"
        yield Problem(text, "format=onnx", "quantize")
    if export.precision == "fp16":
        text = "quantize=int8 and precision=fp16: weights have one number format"
        yield Problem(text, "leave one of them out", "precision")
    for name in ("tolerance", "raw_tolerance"):
        if getattr(export, name) is not None:
            text = f"{name} has no effect on int8, which is judged by what top-1 loses"
            yield Problem(text, "drop=0.02", name)


def of_task(export: Export, task: Task) -> Iterator[Problem]:
    """What a net cannot have that gives no class for each image."""
    if task == "classify":
        return
    kind = NO_CLASS[task]
    if export.quantize is not None:
        text = f"quantize={export.quantize} is proven by top-1, which {kind} has not"
        yield Problem(text, "precision=fp16 halves the weights", "quantize")
    if task == "segment" and export.raw_tolerance is not None:
        text = f"raw_tolerance has no effect on {kind}: its file resizes nothing"
        yield Problem(text, "tolerance=… is that of all sizes", "raw_tolerance")
    if task == "reconstruct" and "softmax" in (export.include or ()):
        text = f"include=softmax has no effect on {kind}: it gives intensities"
        yield Problem(text, "include=preprocess", "include")


def elsewhere(overrides: Collection[str]) -> Iterator[Problem]:
    """Exports are made and proven on the CPU, whatever trained the net."""
    for override in overrides:
        name = override.partition("=")[0]
        if name.partition(".")[0] == "hardware":
            text = f"'{override}' has no effect: an export is made and proven on the CPU"
            yield Problem(text, "leave it out", name)
