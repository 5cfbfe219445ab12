"""cnnctl train: compose, check, plan, train, test."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from cnnctl import runs
from cnnctl.commands import SHORT, Call
from cnnctl.commands.settle import settle
from cnnctl.config import compose, preflight
from cnnctl.config.overrides import quoted
from cnnctl.errors import UsageError
from cnnctl.report.result import Result

ROOT = "train"
HYDRA_ONLY = ("--cfg", "--info")


def run(call: Call) -> Result | None:
    """Train once, or once per point of a multirun."""
    overrides = [quoted(override) for override in call.overrides]
    if "--config" in call.flags:
        return _replay(call, overrides)
    extra = [Path(call.flags["--config-dir"]).resolve()] if "--config-dir" in call.flags else []
    if not any(flag in call.flags for flag in HYDRA_ONLY):
        _check(call, overrides, extra)
    results: list[Result] = []
    _launch(call, overrides, extra, lambda config: results.append(execute(config, call)))
    if "--multirun" in call.flags:
        return Result("several", {"runs": [result.data for result in results]})
    return results[0] if results else None


def execute(config: dict[str, Any], call: Call) -> Result:
    """From a checked configuration to a result."""
    train, spec = settle(config, call.overrides)
    from cnnctl import data, plan
    from cnnctl.report import console, progress
    from cnnctl.training import trainer

    source = data.load(train.data)
    planned = plan.make(train, spec, source)
    if "--dry-run" in call.flags:
        return Result("plan", planned.document())
    folder = runs.create(train.outputs, call.verb, planned.model, planned.data)
    document = {"run": str(folder), **planned.document()}
    runs.write_config(folder, config)
    runs.write_json(folder / runs.PLAN, document)
    console.plan(console.out(stderr=True), document)
    displays = progress.build(train.progress, planned)
    result = trainer.fit(train, spec, source, planned, folder, config, displays)
    runs.write_json(folder / runs.RESULT, result)
    return Result("trained", result)


def _check(call: Call, overrides: list[str], extra: list[Path]) -> None:
    """Compose every point of the command line and name all that is wrong, without torch."""
    with compose.opened(extra):
        multirun = "--multirun" in call.flags
        for point in compose.points(overrides) if multirun else [overrides]:
            config, problems = compose.compose(ROOT, point)
            _, problems = preflight.check(config, problems)
            if problems and preflight.changes_model(point):
                settle(config, point, problems)
            preflight.require(problems)


def _replay(call: Call, overrides: list[str]) -> Result:
    refused = [flag for flag in call.flags if flag in ("--multirun", *HYDRA_ONLY)]
    if refused:
        text = f"--config replays one saved configuration; it does not go with {refused[0]}"
        raise UsageError(text, "compose from groups instead")
    with compose.opened():
        config, problems = compose.replay(runs.read_config(Path(call.flags["--config"])), overrides)
    return execute(config, call) if not problems else settle(config, overrides, problems)  # pyright: ignore[reportReturnType] - settle raises on problems


def _launch(call: Call, overrides: list[str], extra: list[Path], task: Any) -> None:  # noqa: ANN401 - a function of a config
    """Through hydra.main, which reads sys.argv and ends the process on an exception of its own."""
    real = list(sys.argv)
    hydra_flags = [flag for flag in call.flags if flag in SHORT.values() or flag == "--resolve"]

    def job(config: dict[str, Any]) -> None:
        sys.argv[:] = real
        task(config)

    words = []
    for flag in hydra_flags:
        if flag != "--config-dir":
            words += [flag, call.flags[flag]] if call.flags[flag] else [flag]
    sys.argv[1:] = [*words, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # our errors reach us as they are
    try:
        compose.launch(job, ROOT, extra)
    finally:
        sys.argv[:] = real
