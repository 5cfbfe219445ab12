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
    extra = compose.extra_dirs(call.flags)
    if not any(flag in call.flags for flag in HYDRA_ONLY):
        _check(call, overrides, extra)
    results: list[Result] = []
    _launch(call, overrides, extra, lambda config: results.append(execute(config, call)))
    if "--multirun" in call.flags:
        return Result("several", {"runs": [result.data for result in results]})
    return results[0] if results and os.environ.get("RANK", "0") == "0" else None


def execute(config: dict[str, Any], call: Call) -> Result:
    """From a checked configuration to a result."""
    from cnnctl.commands import job
    from cnnctl.report import console
    from cnnctl.training import ranks

    ready = job.prepare(config, call.overrides)
    plan = ready.plan
    if "--dry-run" in call.flags:
        return Result("plan", plan.document())
    names = (plan.model, plan.data)
    folder = ranks.agree(plan.device, lambda: runs.create(ready.train.outputs, call.verb, *names))
    if ranks.rank() == 0:
        document = {"run": str(folder), **plan.document()}
        runs.write_config(folder, config)
        runs.write_json(folder / runs.PLAN, document)
        console.plan(console.out(stderr=True), document)
    if plan.device.world > 1 and not ranks.started():
        ranks.start(folder, plan.device)
        return Result("trained", runs.read_result(folder) or {})
    return Result("trained", job.work(ready, folder))


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


def _launch(call: Call, overrides: list[str], extra: list[Path], task: Any) -> None:
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
