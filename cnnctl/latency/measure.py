"""One net on every engine and batch size, as the JSON contract tells it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cnnctl.devices import Device
from cnnctl.errors import CnnctlError, NetError, UsageError
from cnnctl.latency import clock, memory
from cnnctl.latency.clock import FAILURES, Timing, bare
from cnnctl.latency.energy import Meter
from cnnctl.latency.engines import Engine, Pass, no_room

Tell = Callable[[str], None]  # what is measured now
SEED = 0  # of the images
BYTES = 256
LARGE = (TypeError, OverflowError)  # what torch raises of sizes beyond 64 bits, besides


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
    """On what, how long, and in how many images at once it is measured."""

    device: Device
    batch: Sequence[int]
    seconds: float
    meter: Meter | None


@dataclass(frozen=True)
class Missing:
    """An engine without figures, and why: of this batch, or of no batch at all (None)."""

    engine: str
    batch: int | None
    error: CnnctlError


@dataclass(frozen=True)
class Found:
    """`rows`, one for each engine and batch size that could be measured.

    `missing` has been tried; `absent` never could be.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    absent: list[Missing] = field(default_factory=list)

    def told(self) -> dict[str, list[dict[str, Any]]]:
        """As it stands in the document."""
        unavailable = [
            {"engine": one.engine, "batch": one.batch, "reason": str(one.error)}
            for one in [*self.absent, *self.missing]
        ]
        return {"rows": self.rows, "unavailable": unavailable}


def measure(case: Case, bench: Bench, tell: Tell) -> Found:
    """Every engine on every batch size; what fails is noted, and the others go on."""
    found = Found()
    for name, text in case.absent.items():
        found.absent.append(Missing(name, None, UsageError(text)))
    made: dict[str, Engine] = {}
    for name, maker in case.makers.items():
        try:
            made[name] = maker()
        except FAILURES as wrong:
            found.missing.append(Missing(name, None, why(name, None, wrong)))
        free(bench.device)
    for batch in bench.batch:
        tell(f"batch {batch}")
        _batch(case, bench, batch, made, found)
        free(bench.device)
    return found


def images(case: Case, batch: int) -> Tensor:
    """The same noise each time: normal as images are when they are normalised, or bytes."""
    draw, size = torch.Generator().manual_seed(SEED), (batch, *case.shape)
    if case.type == torch.uint8:
        return torch.randint(0, BYTES, size, generator=draw, dtype=torch.uint8)
    return torch.randn(size, generator=draw).to(case.type)


def why(engine: str, batch: int | None, wrong: Exception) -> CnnctlError:
    """What an engine has raised, in one line; None: before it was given a batch."""
    if isinstance(wrong, CnnctlError):
        return bare(wrong)
    if no_room(wrong):
        return _too_large(batch)
    reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
    return NetError(f"{engine} fails: {reason}")


def _too_large(batch: int | None) -> NetError:
    if batch is None:
        return NetError("the net does not fit into the memory of the device")
    hint = "a smaller batch" if batch > 1 else "a smaller input"
    return NetError(f"a batch of {batch:,} does not fit into the memory of the device", hint)


def free(device: Device) -> None:
    """Give back what torch keeps of a GPU's memory for later, which other libraries lack."""
    if device.accelerator == "gpu":
        torch.cuda.empty_cache()


@dataclass
class _Started:
    """Engines after their first pass: `outputs` are logits, float32 on the CPU."""

    passes: dict[str, Pass] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    differences: dict[str, dict[str, float | None]] = field(default_factory=dict)


def _batch(case: Case, bench: Bench, batch: int, made: dict[str, Engine], found: Found) -> None:
    """Add the rows of one batch size."""
    try:
        given = images(case, batch)
    except (*FAILURES, *LARGE):
        found.missing.extend(Missing(name, batch, _too_large(batch)) for name in made)
        return
    started = _first(given, bench.device, made, found)
    times, failed = clock.rounds(
        started.passes, bench.seconds, bench.meter.joules if bench.meter else None
    )
    for name, timing in times.items():
        row = {"engine": name, "batch": batch, **_speed(timing, batch, case.macs)}
        try:
            row["peak_memory_bytes"] = _peak(case, started.passes[name], given, name, bench.device)
        except FAILURES as wrong:
            failed[name] = bare(wrong)
            continue
        row["compile_seconds"] = started.seconds[name] if name == "compiled" else None
        found.rows.append(row | started.differences[name])
    for name, wrong in failed.items():
        found.missing.append(Missing(name, batch, why(name, batch, wrong)))


def _first(given: Tensor, device: Device, made: dict[str, Engine], found: Found) -> _Started:
    """Let each make its first pass; one that cannot be built is not asked again."""
    started, batch = _Started(), len(given)
    for name, engine in list(made.items()):
        began = time.perf_counter()
        try:
            started.passes[name] = engine(given)
            output = started.passes[name]().float().cpu()
            started.seconds[name] = time.perf_counter() - began
            reference = next(iter(started.outputs.values()), None)
            started.differences[name] = beside(output, reference)
            started.outputs[name] = output
        except FAILURES as wrong:
            built = started.passes.pop(name, None) is not None
            of = batch if built or not isinstance(wrong, CnnctlError) else None
            if of is None:
                del made[name]
            found.missing.append(Missing(name, of, why(name, of, wrong)))
        free(device)
    return started


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


def beside(output: Tensor, reference: Tensor | None) -> dict[str, float | None]:
    """How far an engine's logits (B, classes) are from those of the first one; None: it is that.

    None also stands for what is no number. `max_abs_output` is the largest of the reference: nets
    with random weights can give large ones. Raises NetError for another number of logits.
    """
    if reference is None:
        return {
            "max_abs_difference": None, "max_abs_output": _finite(output.abs().max()),
            "top1_agreement": None,
        }  # fmt: skip
    if output.shape != reference.shape:
        sizes = ["x".join(map(str, one.shape)) for one in (reference, output)]
        raise NetError(f"two engines give {' and '.join(sizes)} numbers for the same images")
    same = output.flatten(1).argmax(1) == reference.flatten(1).argmax(1)
    return {
        "max_abs_difference": _finite((output - reference).abs().max()),
        "max_abs_output": _finite(reference.abs().max()),
        "top1_agreement": float(same.float().mean()),
    }


def _finite(value: Tensor) -> float | None:
    return float(value) if value.isfinite() else None
