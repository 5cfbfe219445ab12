"""One net on every engine and batch size, as the JSON contract tells it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cnnctl.devices import Device
from cnnctl.errors import CnnctlError, NetError
from cnnctl.latency import clock, memory
from cnnctl.latency.clock import Timing
from cnnctl.latency.energy import Meter
from cnnctl.latency.engines import Engine, Pass

Tell = Callable[[str], None]  # what is measured now
SEED = 0  # of the images
BYTES = 256


@dataclass(frozen=True)
class Case:
    """A net to be measured.

    `shape` is an image as the engines take it, (C, H, W) or (H, W, C), and `type` its numbers.
    `makers` are the engines that could be there, each made when it is called for; they raise a
    CnnctlError if they are not. `absent` says of the others why not. `weight_bytes` is the memory
    of the net itself, `macs` are multiply-adds of one image; None: not known.
    """

    shape: tuple[int, ...]
    type: torch.dtype
    makers: Mapping[str, Callable[[], Engine]]
    absent: Mapping[str, str]
    weight_bytes: int | None
    macs: int | None


@dataclass(frozen=True)
class Bench:
    """On what, how long, and in how many images at once it is measured.

    `strict` is whether an engine that is not there is an error.
    """

    device: Device
    batch: Sequence[int]
    seconds: float
    meter: Meter | None
    strict: bool


def measure(case: Case, bench: Bench, tell: Tell) -> dict[str, list[dict[str, Any]]]:
    """`rows`, one for each engine and batch size, and `unavailable`: engines, and why not.

    Raises what an engine raises if `bench.strict`.
    """
    unavailable = [{"engine": name, "reason": text} for name, text in case.absent.items()]
    made: dict[str, Engine] = {}
    for name, maker in case.makers.items():
        try:
            made[name] = maker()
        except CnnctlError as wrong:
            _missing(unavailable, name, wrong, bench)
    rows = []
    for batch in bench.batch:
        tell(f"batch {batch}")
        rows += _batch(case, bench, batch, made, unavailable)
    return {"rows": rows, "unavailable": unavailable}


def images(case: Case, batch: int) -> Tensor:
    """The same noise each time: normal as images are when they are normalised, or bytes."""
    draw, size = torch.Generator().manual_seed(SEED), (batch, *case.shape)
    if case.type == torch.uint8:
        return torch.randint(0, BYTES, size, generator=draw, dtype=torch.uint8)
    return torch.randn(size, generator=draw).to(case.type)


def _batch(
    case: Case,
    bench: Bench,
    batch: int,
    made: dict[str, Engine],
    unavailable: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """The rows of one batch size; an engine that fails in it is not asked again."""
    given = images(case, batch)
    passes: dict[str, Pass] = {}
    outputs: dict[str, Tensor] = {}
    starts: dict[str, float] = {}
    for name, engine in list(made.items()):
        began = time.perf_counter()
        try:
            passes[name] = engine(given)
            outputs[name] = passes[name]().float().cpu()
            starts[name] = time.perf_counter() - began
        except torch.OutOfMemoryError:
            full = NetError(f"a batch of {batch} does not fit into the memory of the device")
            passes.pop(name, None)
            _missing(unavailable, name, full, bench)
        except CnnctlError as wrong:
            del made[name]
            _missing(unavailable, name, wrong, bench)
    joules = bench.meter.joules if bench.meter else None
    times = clock.rounds(passes, bench.seconds, joules)
    first = next(iter(outputs), None)
    rows = []
    for name, timing in times.items():
        row = {"engine": name, "batch": batch, **_speed(timing, batch, case.macs)}
        row["peak_memory_bytes"] = _peak(case, passes[name], given, name, bench.device)
        row["compile_seconds"] = starts[name] if name == "compiled" else None
        other = None if name == first else outputs[name]
        row |= beside(other, outputs[first or name])
        rows.append(row)
    return rows


def _speed(timing: Timing, batch: int, macs: int | None) -> dict[str, Any]:
    used = timing.joules or None  # too short for the counter to move: not known
    return {
        "median": timing.median, "p95": timing.p95, "runs": len(timing.seconds),
        "images_per_second": batch / timing.median,
        "flops": None if macs is None else 2 * macs * batch / timing.median,
        "joules_per_image": None if used is None else used / (timing.passes * batch),
    }  # fmt: skip


def _peak(case: Case, run: Pass, given: Tensor, name: str, device: Device) -> int | None:
    """Weights, batch and what the pass has beside them; None of libraries with their own memory."""
    if name == "onnxruntime" or case.weight_bytes is None:
        return None
    most = memory.peak(run, device.first)
    return None if most is None else most + case.weight_bytes + given.nbytes


def beside(output: Tensor | None, reference: Tensor) -> dict[str, float | None]:
    """How far an engine's logits (B, classes) are from those of the first one; None: it is that.

    None also stands for what is no number. `max_abs_output` is the largest of the reference: nets
    with random weights can give large ones.
    """
    largest = _finite(reference.abs().max())
    if output is None:
        return {
            "max_abs_difference": None, "max_abs_output": largest, "top1_agreement": None
        }  # fmt: skip
    if output.shape != reference.shape:
        sizes = ["x".join(map(str, one.shape)) for one in (output, reference)]
        raise NetError(f"two engines give {' and '.join(sizes)} numbers for the same images")
    same = output.flatten(1).argmax(1) == reference.flatten(1).argmax(1)
    return {
        "max_abs_difference": _finite((output - reference).abs().max()),
        "max_abs_output": largest,
        "top1_agreement": float(same.float().mean()),
    }


def _finite(value: Tensor) -> float | None:
    return float(value) if value.isfinite() else None


def _missing(
    unavailable: list[dict[str, Any]], name: str, wrong: CnnctlError, bench: Bench
) -> None:
    if bench.strict:
        raise wrong
    unavailable.append({"engine": name, "reason": str(wrong)})
