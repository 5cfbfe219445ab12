"""cnnctl export: a file for other programs, proven on real images before it is kept."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl import runs
from cnnctl.commands import Call, trained
from cnnctl.config import compose, paths, preflight, rules_export, tasks, verbs
from cnnctl.config.overrides import key_of
from cnnctl.errors import UsageError
from cnnctl.report.result import Result

if TYPE_CHECKING:
    from cnnctl.commands.trained import Asked, Trained

NEEDS = ("onnx", "onnxscript", "onnxruntime")


def run(call: Call) -> Result:
    """Export; raises UserError before it starts, and ExportError with nothing left behind."""
    if len(call.targets) != 1:
        hint = "cnnctl export latest, or see: cnnctl list runs"
        raise UsageError(f"export takes one run, got {len(call.targets)}", hint)
    wrong = list(rules_export.elsewhere(call.overrides))
    ask = trained.asked(call, verbs.Export)
    ask.unknown[:] = preflight.merge(wrong, ask.unknown)
    with compose.opened(paths.extra_dirs(call.flags)):
        export = trained.keys(verbs.Export, ask)
        preflight.require(list(rules_export.broken(export, {key_of(text) for text in ask.own})))
        _require_packages(export)
        if export.output is not None:
            _require_new(export.output)
        one = trained.find(call.targets[0], export.checkpoint, ask)
    if one.manifest is not None:
        text = f"{one.file} is an exported file already"
        raise UsageError(text, f"export what it is from: {one.manifest.run}")
    task = tasks.of(one.config["model"])
    preflight.require(list(rules_export.of_task(export, task)))
    return Result("exported", _made(export, one, ask))


def _require_packages(export: verbs.Export) -> None:
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if export.format == "onnx" and missing:
        text = f"format=onnx needs {', '.join(missing)}"
        raise UsageError(text, "pip install 'cnnctl[onnx]'")


def _require_new(output: str) -> None:
    from cnnctl.export import folder

    folder.require_new(Path(output).expanduser())


def _made(export: verbs.Export, one: Trained, ask: Asked) -> dict[str, Any]:
    from dataclasses import replace

    from cnnctl.export import folder, make
    from cnnctl.report import progress

    where = make.processor(one.train)
    hardware = replace(one.train.hardware, accelerator="cpu", precision=where.precision)
    one = replace(one, train=replace(one.train, hardware=hardware))
    source = trained.ready(one)
    classes = trained.classes(one, source)
    job = make.Job(
        export=export, train=one.train, config=one.config, spec=one.spec,
        net=trained.net(one, classes), classes=classes, source=source,
        run=one.name, checkpoint=str(one.file), figures=_figures(export, one, ask, source.sizes),
    )  # fmt: skip
    place = folder.named(one.train.outputs, one.spec.name, one.train.data.name)
    place = place if export.output is None else Path(export.output).expanduser()
    with progress.reading(one.train.progress) as tell:
        return make.make(job, place, tell)


def _figures(
    export: verbs.Export, one: Trained, ask: Asked, sizes: dict[str, int]
) -> dict[str, Any] | None:
    """What the run found on its test split, if that is what these weights and images are."""
    found = runs.read_result(one.folder) if one.folder else None
    others = any(key_of(text).partition(".")[0] == "data" for text in ask.of_run)
    if found is None or found.get("test") is None or others or export.checkpoint != "best":
        return None
    return {**found["test"], "n": sizes["test"]}
