"""An audit as data: what `cnnctl audit --json` prints and every other format shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

from torch import nn

from cnnctl.audit import conventions
from cnnctl.audit.forward import Forward, forward
from cnnctl.audit.sight import Field
from cnnctl.audit.step import Memory, Setting, measure
from cnnctl.audit.trace import Row
from cnnctl.errors import NetError

MIB = 2**20
FLOAT = {"16-true": 2, "bf16-true": 2, "64-true": 8}  # bytes of a value outside training


@dataclass(frozen=True)
class Subject:
    """A net to be audited, as its name, its module on the meta device, and its image (C, H, W)."""

    name: str
    net: nn.Module
    input: tuple[int, int, int]
    about: str | None = None  # the paper, or the file it comes from


def audit(subject: Subject, setting: Setting, memory: str) -> dict[str, Any]:
    """Layers, totals and training memory of one net; the keys are those of the JSON contract.

    `memory` is the convention of the columns `activations` and `bytes`. Where the net cannot be
    trained (`memory` of the result has a reason) all figures of training are null.
    """
    seen = forward(subject.net, subject.input)
    try:
        trained: Memory | None = measure(subject.net, subject.input, setting)
        reason = None
    except NetError as wrong:
        trained, reason = None, wrong.message
    kept = _kept(trained)
    width = FLOAT.get(setting.precision, 4)
    image = Row("input", "Input", 0, "input", output=subject.input, values=prod(subject.input))
    rows = [image, *seen.walk.rows]
    tell = partial(_layer, image=subject.input, memory=memory, width=width, kept=kept)
    layers = [tell(row) for row in rows]
    return {
        "name": subject.name,
        "about": subject.about,
        "input": list(subject.input),
        "output": list(seen.output),
        "convention": memory,
        "layers": layers,
        "training_layers": [tell(row) for row in _training(trained, rows)],
        "totals": _totals(subject, seen, trained, layers, width),
        "memory": training_memory(setting, trained, reason),
    }


def _training(trained: Memory | None, rows: list[Row]) -> list[Row]:
    """What only training has, auxiliary classifiers above all; multiply-adds of one image."""
    if trained is None:
        return []
    known = {(row.name, row.type, row.call) for row in rows}
    return [
        replace(row, macs=row.macs // trained.setting.batch_size)
        for row in trained.walk.rows
        if (row.name, row.type, row.call) not in known and row.params + row.macs
    ]


def _kept(trained: Memory | None) -> Mapping[tuple[str, int], int]:
    """Bytes kept for the backward pass, by name and call."""
    if trained is None:
        return {}
    return {
        **{(row.name, row.call): row.kept for row in trained.walk.rows},
        ("input", 0): trained.batch,
    }


def _layer(
    row: Row, image: tuple[int, ...], memory: str, width: int, kept: Mapping[tuple[str, int], int]
) -> dict[str, Any]:
    values: int | None = row.values if row.kind == "input" else conventions.values(row, memory)
    size: int | None
    if memory in {"saved", "peak"}:  # bytes of the batch: of floats and of indices
        values, size = None, kept.get((row.name, row.call))
    else:
        values = 0 if row.kind == "input" and memory == "outputs" else values
        size = (values or 0) * width
    form = row.form._asdict() if row.form else {}
    return {
        "name": row.name, "type": row.type, "kind": row.kind, "call": row.call,
        **{name: list(v) if isinstance(v, tuple) else v for name, v in form.items()},
        "output": list(row.output), "values": row.values,
        "activations": values, "bytes": size,
        "kept_bytes": kept.get((row.name, row.call)),
        "params": row.params, "weights": row.weights, "macs": row.macs,
        **_sees(row, image),
    }  # fmt: skip


def _sees(row: Row, image: tuple[int, ...]) -> dict[str, Any]:
    """Receptive field and jump in pixels; null where there is no local part or none is known."""
    if row.kind == "input":
        return {"receptive_field": 1, "jump": 1, "sees_all": False, "sees_enough": False}
    field = row.field
    axes = field.axes if field else None
    sizes = [axis.size for axis in axes] if axes else None
    jumps = [axis.jump for axis in axes] if axes else None
    slides = row.form is not None and max(row.form.kernel) > 1
    found: dict[str, Any] = {
        "receptive_field": max(sizes) if sizes else None,
        "jump": _plain(max(jumps)) if jumps else None,
        "sees_all": field.everything if field else None,
        "sees_enough": slides and _covers(row.before, image),
    }
    if sizes and len(set(sizes)) > 1:
        found["receptive_field_by_axis"] = sizes
    return found


def _covers(field: Field | None, image: tuple[int, ...]) -> bool:
    """Whether what reaches a layer sees as much as the whole image already."""
    if field is None or field.axes is None:
        return field is not None and field.everything
    return all(axis.size >= side for axis, side in zip(field.axes, image[1:], strict=False))


def _plain(value: Any) -> int | float:
    return int(value) if value == int(value) else float(value)


def _totals(
    subject: Subject,
    seen: Forward,
    trained: Memory | None,
    layers: list[dict[str, Any]],
    width: int,
) -> dict[str, Any]:
    net = subject.net
    named = dict(net.named_parameters())
    count = {name: value.numel() for name, value in named.items()}
    unused = [name for name in count if name not in seen.walk.used]
    macs = sum(seen.walk.macs.values())
    rows = [layer["activations"] for layer in layers]
    return {
        "params": sum(count.values()),
        "weights": sum(n for name, n in count.items() if name.rpartition(".")[2] != "bias"),
        "trainable": sum(n for name, n in count.items() if named[name].requires_grad),
        "frozen": sum(n for name, n in count.items() if not named[name].requires_grad),
        "buffers": sum(value.numel() for value in net.buffers()),
        "unused": {"params": sum(count[name] for name in unused), "names": unused},
        "weight_layers": seen.depth,
        "macs": macs,
        "flops": 2 * macs,
        "training_macs": None if trained is None else _per_image(trained),
        "activations": None if None in rows else sum(rows),
        "bytes": None if None in rows else sum(layer["bytes"] for layer in layers),
        "conventions": _conventions(subject, seen, trained, width),
        "inference_peak_bytes": seen.peak,
    }


def _per_image(trained: Memory) -> dict[str, float]:
    """Multiply-adds of a training step per image, forward (with auxiliary classifiers) and back."""
    images, macs = trained.setting.batch_size, trained.walk.macs
    return {phase: _plain(macs[phase] / images) for phase in ("forward", "backward")}


def _conventions(
    subject: Subject, seen: Forward, trained: Memory | None, width: int
) -> dict[str, Any]:
    """Every way of counting the memory of activations, beside the one of the columns."""
    found: dict[str, Any] = {}
    for name in ("rows", "slides", "outputs"):
        values = sum(conventions.values(row, name) for row in seen.walk.rows)
        values += 0 if name == "outputs" else prod(subject.input)
        found[name] = {"values": values, "bytes": values * width, "batch_size": 1}
    for name in ("saved", "peak"):
        size = None
        if trained is not None:
            size = trained.peak if name == "peak" else trained.activations + trained.batch
        images = None if trained is None else trained.setting.batch_size
        found[name] = {"values": None, "bytes": size, "batch_size": images}
    return {name: one | {"meaning": conventions.MEANING[name]} for name, one in found.items()}


def training_memory(
    setting: Setting, trained: Memory | None, reason: str | None = None
) -> dict[str, Any]:
    """A training step in bytes; null, with the reason, where it cannot be made."""
    made = {
        "batch_size": setting.batch_size,
        "precision": setting.precision,
        "optimizer": setting.optimizer.name,
        "accelerator": setting.accelerator,
        "channels_last": setting.channels_last,
        "accumulate": setting.accumulate,
    }
    names = ("weights", "gradients", "optimizer_state", "batch", "activations", "skips", "peak")
    if trained is None:
        return made | dict.fromkeys(names) | {"at_peak": None, "where": None, "reason": reason}
    return (
        made
        | {name: getattr(trained, name) for name in names}
        | {
            "at_peak": {name: size for name, size in trained.parts.items() if size},
            "where": {"phase": trained.phase, "layer": trained.layer, "op": trained.op},
            "reason": None,
        }
    )
