"""Files that `cnnctl bench` runs as they are: exports of ours, and any ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cnnctl import nets
from cnnctl.audit import onnx_graph
from cnnctl.commands.cases import Subject, absent, costs, wanted
from cnnctl.commands.trained import Trained
from cnnctl.config import audit, verbs
from cnnctl.devices import Device
from cnnctl.errors import NetError, UsageError
from cnnctl.latency import engines
from cnnctl.latency.measure import Case
from cnnctl.manifest import PREPROCESS
from cnnctl.nets import meta

if TYPE_CHECKING:
    from cnnctl.latency.engines import Engine

TYPES: dict[str, torch.dtype] = {  # by ONNX's names
    "float": torch.float32, "float16": torch.float16,
    "double": torch.float64, "uint8": torch.uint8,
}  # fmt: skip
OTHER = "torch does not run ONNX files"
PROGRAM = "the file is a program of torch"


def ours(one: Trained, bench: verbs.Bench, device: Device) -> Subject:
    """A program that cnnctl has exported: what is in it is known from its manifest."""
    told = one.manifest
    assert told is not None
    shape = (told.channels, told.size, told.size)
    with meta.device():
        net = nets.build(one.spec, num_classes=len(told.classes), shape=shape)
    cost = costs(net, shape, half=told.precision == "fp16")
    onnx = told.format == "onnx"
    made: dict[str, Callable[[], Engine]] = (
        {"onnxruntime": lambda: engines.onnxruntime(one.file, device)}
        if onnx
        else {"eager": lambda: engines.program(one.file, told.format, device)}
    )
    kind = torch.uint8 if PREPROCESS in told.include else torch.float32
    why = OTHER if onnx else PROGRAM
    there = wanted(bench, made, str(one.file), why)
    case = Case(shape, kind, there, absent(bench, made, why), cost["bytes"], cost["macs"])
    about = {
        "name": str(one.file), "params": cost["params"], "macs": cost["macs"],
        "input": list(shape), "takes": _word(kind), "channels_last": False,
    }  # fmt: skip
    return Subject(about, case, None if told.dynamic_batch else 1)


def foreign(file: Path, bench: verbs.Bench, device: Device) -> Subject:
    """Any ONNX file that takes one batch of images. Raises UsageError for another."""
    made = {"onnxruntime": lambda: engines.onnxruntime(file, device)}
    there = wanted(bench, made, str(file), OTHER)
    if bench.precision != "32-true":
        text = f"precision={bench.precision} has no effect on {file}: a file has its own"
        raise UsageError(text, "leave it out")
    kind, batch, *sides = _input(file)
    net, reason = _audited(file)
    last = net is not None and net.channels_last
    shape = _shape(file, (sides[-1], *sides[:-1]) if last else tuple(sides), bench.input)
    cost: dict[str, Any] = {"params": None, "macs": None, "bytes": None}
    if net is not None:
        try:
            cost = costs(net, shape)
        except NetError as wrong:  # a size that the graph does not take, above all
            reason = str(wrong)
    order = (*shape[1:], shape[0]) if last else shape
    case = Case(order, kind, there, absent(bench, made, OTHER), None, cost["macs"])
    about = {
        "name": str(file), "params": cost["params"], "macs": cost["macs"],
        "input": list(shape), "takes": _word(kind), "channels_last": last,
        "not_counted": reason,
    }  # fmt: skip
    return Subject(about, case, batch)


def _audited(file: Path) -> tuple[onnx_graph.OnnxNet | None, str | None]:
    """The graph for its multiply-adds and its layout, or why it cannot be read."""
    try:
        return onnx_graph.load(file), None
    except NetError as wrong:
        return None, str(wrong)


def _input(file: Path) -> Any:
    """The type of the only input, its batch and its other sizes; None where they are free."""
    import onnx

    graph = onnx.load(str(file), load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    found = [one for one in graph.input if one.name not in stored]
    names = ", ".join(one.name for one in found)
    if len(found) != 1:
        text = f"{file} has {len(found)} inputs ({names}); bench gives one, the images"
        raise UsageError(text)
    tensor = found[0].type.tensor_type
    sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
    if len(sizes) != onnx_graph.IMAGES:
        shape = "x".join("?" if size is None else str(size) for size in sizes)
        raise UsageError(f"{file} takes {shape or 'any shape'}, not images (B, C, H, W)")
    name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    kind = TYPES.get(name)
    if kind is None:
        raise UsageError(f"{file} takes {name}; bench gives one of {', '.join(TYPES)}")
    return kind, *sizes


def _shape(file: Path, said: tuple[int | None, ...], given: str | None) -> tuple[int, int, int]:
    """Channels, height and width of an image: as the file says, the others as given."""
    typed = audit.shape(given) if given else (None, None, None)
    told = "x".join("?" if side is None else str(side) for side in said)
    if any(a is not None and b is not None and a != b for a, b in zip(said, typed, strict=True)):
        raise UsageError(f"input={given} does not fit {file}, which takes {told}")
    match tuple(a or b for a, b in zip(said, typed, strict=True)):
        case (int() as channels, int() as height, int() as width):
            return channels, height, width
    text = f"{file} does not say how large its images are: {told}"
    raise UsageError(text, "input=3x224x224")


def _word(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
