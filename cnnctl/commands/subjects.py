"""What `cnnctl audit TARGET` means: a net, a run, an exported file, a class in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl import runs
from cnnctl.config import audit as schema
from cnnctl.config import catalog, compose, paths, preflight
from cnnctl.config.near import did_you_mean
from cnnctl.config.overrides import key_of
from cnnctl.config.read import read
from cnnctl.errors import NetError, RunError, UsageError

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


def subject(typed: schema.Audit, what: dict[str, Any] | Path | str) -> Subject:
    """The net on the meta device. Imports torch; raises NetError, ConfigError or DataError."""
    from cnnctl import nets
    from cnnctl.audit.document import Subject
    from cnnctl.nets import meta
    from cnnctl.nets.library import Library

    if not isinstance(what, dict):
        return _foreign(typed, what)
    spec, problems = nets.read_spec(what)
    preflight.require(problems)
    assert spec is not None
    shape, classes = _input(typed, spec.input, spec.classes)
    try:
        with meta.device():
            net = nets.build(spec, num_classes=classes, shape=shape)
    except NetError as wrong:  # its own hint is about the data of a run
        own = f"its own images: input={'x'.join(map(str, spec.input))}"
        raise NetError(f"{spec.name}: {wrong.message}", own) from wrong
    own = net.net if isinstance(net, Library) else net  # without the name that wraps it
    return Subject(spec.name, own, shape, spec.paper)


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
    same = [f"{name}={value}" for name, value in _planned(plan).items() if name not in given]
    composed, _ = _read([*same, *overrides])
    if "optimizer" not in given:
        own = config["optimizer"].items()
        composed["optimizer"] |= {name: v for name, v in own if f"optimizer.{name}" not in given}
    typed, problems = read(schema.Audit, composed | {"model": config["model"]})
    preflight.require(problems)
    assert typed is not None
    return typed, config["model"]


def _planned(plan: dict[str, Any]) -> dict[str, Any]:
    """What a run's plan says of its images, and of how it makes a step."""
    device = plan["device"]
    found = {
        "input": "x".join(map(str, plan["shape"])), "classes": len(plan["classes"]),
        "batch_size": plan["batch_size"], "precision": device["precision"],
        "optimizer": plan["optimizer"],
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


def _foreign(typed: schema.Audit, what: Path | str) -> Subject:
    """Somebody else's net; its image must be given unless the file says it."""
    from cnnctl.audit import onnx_graph, stranger
    from cnnctl.audit.document import Subject

    if isinstance(what, Path):
        net = onnx_graph.load(what)
        shape = schema.shape(typed.input) if typed.input else net.input
    else:
        net = stranger.load(what)
        shape = schema.shape(typed.input) if typed.input else None
    if shape is None or None in shape:
        raise UsageError(f"{what} does not say how large its images are", "input=3x224x224")
    if typed.classes is not None:
        raise UsageError(f"classes={typed.classes} has no effect on {what}")
    return Subject(str(what), net, shape)
