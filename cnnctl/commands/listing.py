"""cnnctl list: what can be chosen, and what has been run. Quick: no torch, no hydra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnnctl import runs
from cnnctl.commands import Call
from cnnctl.config import catalog, filters, paths, tasks
from cnnctl.config.near import did_you_mean
from cnnctl.config.overrides import key_of
from cnnctl.errors import UsageError
from cnnctl.report.result import Result

GROUPS = {
    "augments": "augment", "losses": "loss", "recipes": "recipe", "optimizers": "optimizer",
    "schedules": "schedule", "hardware": "hardware", "loggers": "logger",
    "transfers": "transfer",
}  # fmt: skip
WHAT = ("models", "data", *GROUPS, "runs")


def run(call: Call) -> Result:
    """List one kind of thing."""
    if len(call.targets) != 1:
        raise UsageError(f"list takes one of {', '.join(WHAT)}", "cnnctl list models")
    what = call.targets[0]
    if what not in WHAT:
        raise UsageError(
            f"cannot list '{what}'; one of {', '.join(WHAT)}", did_you_mean(what, WHAT)
        )
    outputs = _outputs(call, what)
    extra = paths.extra_dirs(call.flags)
    for flag in filters.FLAGS:
        if flag in call.flags and what != "models":
            raise UsageError(f"{flag} has no effect on: cnnctl list {what}")
    if what == "models":
        rows = filters.chosen(catalog.models(extra), filters.read(call.flags))
    elif what == "data":
        rows = catalog.datasets(extra)
    elif what == "runs":
        rows = [_row(folder) for folder in runs.listed(outputs)]
    else:
        rows = catalog.options(GROUPS[what], extra)
    return Result("listing", {what: rows})


def _outputs(call: Call, what: str) -> str:
    """The only override that a listing takes is outputs, and only for runs."""
    outputs = "outputs"
    for override in call.overrides:
        if what != "runs" or key_of(override) != "outputs":
            raise UsageError(f"'{override}' has no effect on: cnnctl list {what}")
        outputs = override.partition("=")[2]
    return outputs


def _row(run: Path) -> dict[str, Any]:
    """One run: what it trained and how far it came."""
    config = runs.read_config(run / runs.CONFIG)
    result = runs.read_result(run) or {}
    return {
        "run": run.name,
        "model": config["model"]["name"],
        "data": config["data"]["name"],
        "seed": config["seed"],
        "state": "finished" if result else "unfinished",
        "epochs": result.get("epochs"),
        **{
            f"{split}_{figure}": (result.get(split) or {}).get(figure)
            for figure in tasks.FIGURES.values()
            for split in ("val", "test")
        },
    }
