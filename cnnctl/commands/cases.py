"""What `cnnctl bench TARGET` means, and what can run it: a net of the zoo, a run, a file."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cnnctl import manifest, runs
from cnnctl.commands import subjects, trained
from cnnctl.commands.asked import Asked
from cnnctl.commands.trained import Trained
from cnnctl.config import audit, verbs
from cnnctl.config.near import did_you_mean
from cnnctl.errors import RunError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from cnnctl.devices import Device
    from cnnctl.latency.engines import Engine
    from cnnctl.latency.measure import Case

T = TypeVar("T")
ONNX = ".onnx"
HALF = 2  # bytes


@dataclass(frozen=True)
class Target:
    """One thing to be measured, settled as far as possible without torch.

    One of `model` (the section of a net of the zoo), `one` (a run, checkpoint or export of ours)
    and neither (`name` is any ONNX file).
    """

    name: str
    typed: audit.Audit | None = None
    model: dict[str, Any] | None = None
    one: Trained | None = None

    @property
    def told(self) -> str:
        """How it is named in tables: a run by its folder, which `latest` does not say."""
        folder = None if self.one is None else self.one.folder
        return self.name if folder is None else folder.name

    @property
    def file(self) -> Path | None:
        """The file that is run as it is; None for a net in torch."""
        if self.one is None:
            return None if self.model is not None else Path(self.name)
        made = self.one.manifest
        return None if made is None or made.format == "safetensors" else self.one.file


@dataclass(frozen=True)
class Subject:
    """What is told of a net besides its times, and how it is measured.

    `batch` is the only number of images that it takes at once; None: any number.
    """

    about: dict[str, Any]
    case: Case
    batch: int | None = None


def settle(target: str, bench: verbs.Bench, ask: Asked, of_net: Sequence[str]) -> Target:
    """What `target` names; `of_net` are overrides of its model. Call inside `compose.opened`.

    Raises UsageError, ConfigError, RunError or CheckpointError.
    """
    if target in subjects.names() or target.startswith(subjects.LIBRARIES):
        size = [] if bench.input is None else [f"input='{bench.input}'"]
        typed, what = subjects.settle(target, [*of_net, *size])
        assert isinstance(what, dict)
        return Target(target, typed, what)
    if of_net:
        raise UsageError(f"'{of_net[0]}' has no effect on {target}, which is no net of the zoo")
    path = Path(target).expanduser()
    if path.suffix == ONNX and path.is_file() and manifest.read(path) is None:
        return Target(str(path))
    if bench.input is not None:
        text = f"input={bench.input} has no effect on {target}, which has its own images"
        raise UsageError(text, "leave it out")
    found = Target(target, one=_trained(target, bench, ask))
    if found.file is not None and bench.precision != "32-true":
        text = f"precision={bench.precision} has no effect on {target}: a file has its own"
        raise UsageError(text, "leave it out, or give the run")
    return found


def subject(target: Target, bench: verbs.Bench, device: Device) -> Subject:
    """The net on its engines. Imports torch; raises UserError for what cannot be measured."""
    from cnnctl.commands import case_files

    if target.file is None:
        return _in_torch(target, bench, device)
    if target.one is None:
        return case_files.foreign(target.file, bench, device)
    return case_files.ours(target.one, bench, device)


def check(target: Target, bench: verbs.Bench, device: Device, *, strict: bool) -> Subject | None:
    """Raise what would be raised of sizes and files later, without the weights of a net.

    Gives what is known of a file.
    """
    if target.file is not None:
        found = subject(target, bench, device)
        batches(found, bench, strict=strict)
        return found
    if target.model is not None:
        assert target.typed is not None
        subjects.subject(target.typed, target.model)
    return None


def batches(subject: Subject, bench: verbs.Bench, *, strict: bool) -> tuple[int, ...]:
    """How many images it is given at once; what it does not take is a UsageError if `strict`."""
    if subject.batch is None or set(bench.batch) == {subject.batch}:
        return bench.batch
    if strict:
        given = ",".join(map(str, bench.batch))
        text = f"{subject.about['name']} takes batches of {subject.batch}, got batch={given}"
        raise UsageError(text, f"batch={subject.batch}")
    return (subject.batch,)


def wanted(bench: verbs.Bench, there: Mapping[str, T], name: str, why: str) -> dict[str, T]:
    """Those of `there` that are asked for. Raises UsageError for another that was asked for."""
    if bench.engines is None:
        return dict(there)
    for engine in bench.engines:
        if engine not in there:
            hint = f"engines={','.join(there)}"
            raise UsageError(f"engines={engine} does not run {name}: {why}", hint)
    return {engine: there[engine] for engine in bench.engines}


def absent(bench: verbs.Bench, there: Mapping[str, Any], why: str) -> dict[str, str]:
    """The other engines, each with the reason; none where engines are asked for."""
    names = typing.get_args(verbs.Engine) if bench.engines is None else ()
    return {engine: why for engine in names if engine not in there}


def costs(net: nn.Module, shape: tuple[int, ...], *, half: bool = False) -> dict[str, int]:
    """Parameters, multiply-adds of one image, and bytes of a net with its buffers.

    `half`: floats of two bytes each.
    """
    from cnnctl.audit.forward import forward

    sizes = [
        value.numel() * (HALF if half and value.is_floating_point() else value.itemsize)
        for value in (*net.parameters(), *net.buffers())
    ]
    return {
        "params": sum(value.numel() for value in net.parameters()),
        "macs": sum(forward(net, shape).walk.macs.values()),
        "bytes": sum(sizes),
    }


def _in_torch(target: Target, bench: verbs.Bench, device: Device) -> Subject:
    import torch

    from cnnctl.export import onnx
    from cnnctl.latency import engines
    from cnnctl.latency.measure import Case

    net, shape, last = _built(target)
    cost = costs(net, shape, half=device.precision in ("16-true", "bf16-true"))
    made: dict[str, Callable[[], Engine]] = {
        "eager": lambda: engines.eager(net, device, channels_last=last),
        "compiled": lambda: engines.compiled(net, device, channels_last=last),
        "onnxruntime": lambda: engines.onnxruntime(onnx.of_net(net, shape, device.first), device),
    }
    there = wanted(bench, made, target.name, "")
    lacks = {}
    if device.precision != "32-true" and "onnxruntime" in there:
        del there["onnxruntime"]
        lacks = {"onnxruntime": f"it is measured in 32-true, not in {device.precision}"}
    case = Case(shape, torch.float32, there, lacks, cost["bytes"], cost["macs"])
    about = {
        "name": target.told, "params": cost["params"], "macs": cost["macs"],
        "input": list(shape), "takes": "float32", "channels_last": last,
    }  # fmt: skip
    return Subject(about, case)


def _built(target: Target) -> tuple[nn.Module, tuple[int, int, int], bool]:
    """The net with random or its own weights, its image, and whether images are channels_last."""
    import torch

    from cnnctl import nets
    from cnnctl.nets.segmenter import Segmenter

    if target.one is not None:
        data = target.one.train.data
        net = trained.net(target.one, trained.classes(target.one))
        last = target.one.train.trainer.channels_last
        return net, (data.channels, data.size, data.size), last
    assert target.typed is not None
    assert target.model is not None
    meta = subjects.subject(target.typed, target.model)  # tells what is wrong with numbers and size
    spec, _ = nets.read_spec(target.model)
    assert spec is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nets.build(spec, num_classes=spec.classes, shape=meta.input)
    if isinstance(net, Segmenter):
        net.framed = subjects.framed(target.typed)
    return net, meta.input, True


def _trained(target: str, bench: verbs.Bench, ask: Asked) -> Trained:
    try:
        return trained.find(target, bench.checkpoint, ask)
    except RunError as wrong:
        if target == runs.LATEST or Path(target).exists():
            raise
        hint = did_you_mean(target, subjects.names()) or "cnnctl list models, or a run's folder"
        raise UsageError(f"no net, run or file '{target}'", hint) from wrong
    except UsageError as wrong:  # weights of somebody else
        raise UsageError(wrong.message, "bench the net: weights do not change its time") from wrong
