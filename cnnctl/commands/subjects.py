"""What `cnnctl audit TARGET` means: a net, a run, an exported file, a class in a file."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl import runs
from cnnctl.config import audit as schema
from cnnctl.config import catalog, compose, paths, preflight, tasks
from cnnctl.config.near import did_you_mean
from cnnctl.config.overrides import key_of
from cnnctl.config.read import read
from cnnctl.errors import CnnctlError, NetError, RunError, UsageError

if TYPE_CHECKING:
    from cnnctl.audit.document import Subject

LIBRARIES = ("timm/", "torchvision/")


def names() -> list[str]:
    """Every net of the zoo, in the order of `cnnctl list models`."""
    return sorted(paths.config_files().get("model", {}), key=catalog.natural)


def settle(
    target: str | None, overrides: Sequence[str]
) -> tuple[schema.Audit, dict[str, Any] | Path | str]:
    """The typed configuration, and what is audited: a model section, a FILE.onnx, FILE.py:CLASS.

    Call inside `compose.opened`. Raises ConfigError, UsageError or RunError.
    """
    if target is None or target in names() or target.startswith(LIBRARIES):
        chosen = [] if target is None else [f"model={target}"]
        other = [text for text in overrides if chosen and key_of(text) == "model"]
        if other:
            raise UsageError(f"two nets at once: {target} and {other[0]}", "leave out one of them")
        config, typed = _read([*chosen, *overrides])
        return typed, config["model"]
    changes = [text for text in overrides if key_of(text).partition(".")[0] in ("model", "data")]
    if changes:
        raise UsageError(f"'{changes[0]}' has no effect on {target}, which is no net of the zoo")
    if target.endswith((".onnx", ".py")) or ".py:" in target:
        _, typed = _read(overrides)
        return typed, Path(target) if target.endswith(".onnx") else target
    return _of_run(target, overrides)


def subject(
    typed: schema.Audit, what: dict[str, Any] | Path | str, side: int | None = None
) -> Subject:
    """The net on the meta device, on images of `side` x `side` if that is given.

    A net for masks is the paper's net alone, without mirrored borders, unless it is `framed`.
    Imports torch; raises NetError, ConfigError, DataError or UsageError.
    """
    if typed.framed is not None and (not isinstance(what, dict) or tasks.of(what) != "segment"):
        given = what["name"] if isinstance(what, dict) else what
        text = f"framed={str(typed.framed).lower()} has no effect on {given}, no net for masks"
        raise UsageError(text, "leave it out")
    from cnnctl import nets
    from cnnctl.audit.document import Subject
    from cnnctl.nets import meta
    from cnnctl.nets.library import Library
    from cnnctl.nets.segmenter import Segmenter

    if not isinstance(what, dict):
        return _foreign(typed, what, side)
    spec, problems = nets.read_spec(what)
    preflight.require(problems)
    assert spec is not None
    shape, classes = _input(typed, spec.input, spec.classes)
    shape = shape if side is None else (shape[0], side, side)
    try:
        with meta.device():
            net = nets.build(spec, num_classes=classes, shape=shape)
            if isinstance(net, Segmenter) and not framed(typed):
                net.framed = False
                net.check(shape, strict=spec.strict)
    except NetError as wrong:
        own = f"its own: input={'x'.join(map(str, spec.input))}"
        own += ", or with mirrored borders: framed=true" * (tasks.of(what) == "segment")
        of_data = typed.data is None and wrong.hint and "data.size" in wrong.hint
        raise NetError(f"{spec.name}: {wrong.message}", own if of_data else wrong.hint) from wrong
    own = net.get_submodule("net") if isinstance(net, Library) else net  # without what wraps it
    return Subject(spec.name, own, shape, spec.paper)


def framed(typed: schema.Audit) -> bool:
    """Whether images of a net for masks get mirrored borders, as in training."""
    return typed.data is not None if typed.framed is None else typed.framed


@contextlib.contextmanager
def running(subject: Subject, what: dict[str, Any] | Path | str) -> Iterator[None]:
    """While open, a user's own code prints to stderr, and fails with a NetError in one line."""
    if not isinstance(what, str):
        yield
        return
    from cnnctl.audit import stranger, user_file

    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except CnnctlError:
        raise
    except Exception as wrong:
        size = "x".join(map(str, subject.input))
        place = user_file.told(wrong, stranger.read(what).file)
        text = f"{what} does not take {size} images{place}"
        raise NetError(text, "another size: input=3x224x224") from wrong


def _read(overrides: Sequence[str]) -> tuple[dict[str, Any], schema.Audit]:
    config, problems = compose.compose("audit", overrides)
    config.setdefault("data", None)  # no choice of the group leaves no key
    typed, found = read(schema.Audit, config)
    preflight.require(preflight.merge(problems, found))
    assert typed is not None
    preflight.require(schema.broken(typed))
    return config, typed


def _of_run(target: str, overrides: Sequence[str]) -> tuple[schema.Audit, dict[str, Any]]:
    """A run's own net, image, classes, and how it makes a step, unless they are given."""
    try:
        folder = runs.find(target)
    except RunError as wrong:
        if target == runs.LATEST or Path(target).exists():
            raise
        hint = did_you_mean(target, [*names(), "claims"]) or "cnnctl list models, or a run's folder"
        raise UsageError(f"no net, run or file '{target}'", hint) from wrong
    config, plan = runs.read_config(folder / runs.CONFIG), runs.read_plan(folder)
    given = {key_of(text) for text in overrides}
    planned = _planned(config, plan).items()
    composed, _ = _read([*(f"{name}={v}" for name, v in planned if name not in given), *overrides])
    if "optimizer" not in given:
        own = config["optimizer"].items()
        composed["optimizer"] |= {name: v for name, v in own if f"optimizer.{name}" not in given}
    typed, problems = read(schema.Audit, composed | {"model": config["model"]})
    preflight.require(problems)
    assert typed is not None
    return typed, config["model"]


def _planned(config: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    """What a run says of its images, and of how it makes a step."""
    device = plan["device"]
    found: dict[str, Any] = {"framed": "true"} if tasks.of(config["model"]) == "segment" else {}
    found |= {
        "input": "x".join(map(str, plan["shape"])), "classes": len(plan["classes"]),
        "batch_size": plan["batch_size"], "precision": device["precision"],
        "optimizer": plan["optimizer"], "accumulate": config["trainer"]["accumulate"],
    }  # fmt: skip
    known = device["accelerator"] in schema.choices()["accelerator"]
    return found | ({"accelerator": device["accelerator"]} if known else {})


def _input(
    typed: schema.Audit, shape: tuple[int, int, int], classes: int
) -> tuple[tuple[int, int, int], int]:
    """Image and classes: of the data, as given, or of the paper."""
    if typed.data is None:
        given = typed.input and schema.shape(typed.input)
        return given or shape, typed.classes or classes
    from cnnctl import data

    quick = dataclasses.replace(typed.data, verify=False) if hasattr(typed.data, "verify") else None
    source = data.load(quick or typed.data)
    return (typed.data.channels, typed.data.size, typed.data.size), len(source.classes)


def _foreign(typed: schema.Audit, what: Path | str, side: int | None) -> Subject:
    """Somebody else's net; its image must be given unless the file says it."""
    from cnnctl.audit import onnx_graph, stranger
    from cnnctl.audit.document import Subject

    if typed.classes is not None:
        raise UsageError(f"classes={typed.classes} has no effect on {what}")
    if isinstance(what, Path):
        net = onnx_graph.load(what)
        said = net.input
        if net.fixed and typed.input and schema.shape(typed.input) != said:
            size = "x".join(map(str, said))
            text = f"input={typed.input} has no effect on {what}: its net always sees {size}"
            raise UsageError(text, "leave it out")
    else:
        net, said = stranger.load(what), ()
    match schema.shape(typed.input) if typed.input else said:
        case (int(channels), int(), int()) as shape:
            if (
                side is not None
                and isinstance(what, Path)
                and net.fixed
                and (side, side) != shape[1:]
            ):
                raise NetError(f"{what} always sees {'x'.join(map(str, said))}")
            return Subject(str(what), net, (channels, side, side) if side else shape)
    raise UsageError(f"{what} does not say how large its images are", "input=3x224x224")
