"""cnnctl train: compose, check, plan, train, test."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl import runs
from cnnctl.commands import Call, resume
from cnnctl.commands.settle import settle
from cnnctl.config import compose, launch, paths, preflight, replay, smoke
from cnnctl.config.overrides import quoted
from cnnctl.errors import EXIT_FAILED, EXIT_INTERRUPTED, CnnctlError, Stopped, UsageError
from cnnctl.report.result import Result

if TYPE_CHECKING:
    from cnnctl.training.trainer import Job

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
    _check(call, overrides, extra)
    if "--multirun" in call.flags:
        return _several(call, overrides, extra)
    results: list[Result] = []
    words = launch.words(call.flags, overrides)
    launch.launch(lambda config: results.append(execute(config, call)), ROOT, words, extra)
    return results[0] if results and os.environ.get("RANK", "0") == "0" else None


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
        config, verb = smoke.shrink(config), "smoke"
        print(
            "cnnctl: a smoke run: few images, two epochs; its figures say nothing", file=sys.stderr
        )
    ready = job.prepare(config, call.overrides, build="--dry-run" not in call.flags)
    plan = ready.plan
    if "--dry-run" in call.flags:
        return Result("plan", plan.document())

    def made() -> Path:
        again = slurm.earlier(Path(ready.train.outputs).expanduser() / verb, config)
        return again or runs.create(ready.train.outputs, verb, plan.model, plan.data)

    return work(ready, ranks.agree(plan.device, made))


def work(ready: Job, folder: Path) -> Result:
    """Train in the run folder, from its last checkpoint if it has one."""
    from cnnctl.commands import job
    from cnnctl.report import console
    from cnnctl.training import ranks, slurm

    plan = ready.plan
    if ranks.rank() > 0:
        return Result("trained", job.work(ready, folder))
    with runs.locked(folder):
        document = {"run": str(folder), **plan.document()}
        (folder / runs.RESULT).unlink(missing_ok=True)  # of a run that is extended
        runs.write_config(folder, ready.config)
        slurm.remember(folder, ready.config)
        runs.write_json(folder / runs.PLAN, document)
        runs.write_json(folder / runs.SPLIT, ready.source.cut())
        console.plan(console.out(stderr=True), document)
        if plan.device.world == 1 or ranks.started():
            return Result("trained", job.work(ready, folder))
        code = ranks.start(folder, plan.device)
        if code:
            hint = f"go on with: cnnctl train --resume {folder}"
            raise Stopped("interrupted" if code == EXIT_INTERRUPTED else "ended", hint, code - 128)
        result = runs.read_result(folder)
        assert result is not None  # the first process wrote it, or start has raised
        return Result("trained", result)


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
