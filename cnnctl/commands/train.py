"""cnnctl train: compose, check, plan, train, test."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from cnnctl import runs
from cnnctl.commands import Call, resume
from cnnctl.commands.settle import settle
from cnnctl.config import companions, compose, launch, paths, preflight, replay, smoke
from cnnctl.config.overrides import quoted
from cnnctl.errors import EXIT_FAILED, CnnctlError, Stopped, UsageError
from cnnctl.report.result import Result

ROOT = "train"


def run(call: Call) -> Result | None:
    """Train once, or once per point of a multirun."""
    overrides = [quoted(override) for override in call.overrides]
    if "--resume" in call.flags:
        return resume.run(call, overrides)
    if "--config" in call.flags:
        return _replay(call, overrides)
    launch.check(call.flags)
    extra = paths.extra_dirs(call.flags)
    overrides = companions.completed(overrides, extra)
    _check(call, overrides, extra)
    if "--multirun" in call.flags:
        return _several(call, overrides, extra)
    results: list[Result] = []
    words = launch.words(call.flags, overrides)
    launch.launch(lambda config: results.append(execute(config, call)), ROOT, words, extra)
    return results[0] if results else None


def _several(call: Call, overrides: list[str], extra: list[Path]) -> Result:
    """A failing run does not stop the others; the exit code says that there was one."""
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []

    def task(config: dict[str, Any]) -> None:
        try:
            done.append(execute(config, call).data)
        except Stopped:
            raise
        except CnnctlError as error:
            print(f"cnnctl: error: {error}", file=sys.stderr)
            failed.append({"kind": error.kind, "message": error.message, "hint": error.hint})

    with tempfile.TemporaryDirectory() as nowhere:
        if "--dry-run" in call.flags:  # Hydra keeps a file about every multirun
            overrides = [*overrides, f"hydra.sweep.dir={nowhere}"]
        launch.launch(task, ROOT, launch.words(call.flags, overrides), extra)
    return Result("several", {"runs": done, "failed": failed}, EXIT_FAILED if failed else 0)


def execute(config: dict[str, Any], call: Call) -> Result:
    """From a checked configuration to a result."""
    from cnnctl.commands import job
    from cnnctl.training import ranks, slurm

    ranks.adopt()
    verb = call.verb
    if "--smoke" in call.flags:
        config, verb = smoke.shrink(config), runs.SMOKE
        if ranks.rank() == 0:
            print("cnnctl: a smoke run on few images; its figures say nothing", file=sys.stderr)
    ready = job.prepare(config, call.overrides, build="--dry-run" not in call.flags)
    plan = ready.plan
    if "--dry-run" in call.flags:
        return Result("plan", plan.document())

    def made() -> Path:
        again = slurm.earlier(Path(ready.train.outputs).expanduser() / verb, config)
        return again or runs.create(ready.train.outputs, verb, plan.model, plan.data)

    return Result("trained", job.carry_out(ready, ranks.agree(plan.device, made)))


def _check(call: Call, overrides: list[str], extra: list[Path]) -> None:
    """Compose every point of the command line and name all that is wrong, without torch."""
    with compose.opened(extra):
        multirun = "--multirun" in call.flags
        for point in compose.points(overrides) if multirun else [overrides]:
            config, problems = compose.compose(ROOT, point)
            if not any(flag in call.flags for flag in launch.PRINTS):
                _, problems = preflight.check(config, problems)
            if problems and preflight.changes_model(point):
                settle(config, point, problems)
            preflight.require(problems)


def _replay(call: Call, overrides: list[str]) -> Result:
    refused = [flag for flag in call.flags if flag in ("--multirun", *launch.PRINTS)]
    if refused:
        text = f"--config replays one saved configuration; it does not go with {refused[0]}"
        raise UsageError(text, "compose from groups instead")
    with compose.opened():
        config, problems = replay.replay(runs.read_config(Path(call.flags["--config"])), overrides)
    if problems:
        settle(config, overrides, problems)
    return execute(config, call)
