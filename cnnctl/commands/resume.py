"""cnnctl train --resume RUN: go on where a run was ended, to the same bits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from cnnctl import runs
from cnnctl.commands import Call
from cnnctl.commands.settle import settle
from cnnctl.config import compose, launch, paths, replay, resume
from cnnctl.config.masks import Dice
from cnnctl.config.overrides import key_of
from cnnctl.errors import ConfigError, Problem, UsageError
from cnnctl.report.result import Result

FEW = 5  # classes that are named
PARTS = "the batch_size, accumulate and devices of the run"
SAME = ("sizes", "classes", "images", "global_batch", "steps_per_epoch")  # of the plan


def run(call: Call, overrides: list[str]) -> Result:
    """Train on. Raises RunError, ConfigError or UsageError before anything is changed."""
    against = ("--multirun", "--config", "--smoke", *launch.PRINTS)
    refused = [flag for flag in call.flags if flag in against]
    if refused:
        raise UsageError(f"--resume goes on with one run; it does not go with {refused[0]}")
    given = [text.partition("=")[2] for text in overrides if key_of(text) == "outputs"]
    folder = runs.find(call.flags["--resume"], *given[-1:], finished=False)
    saved = runs.read_config(folder / runs.CONFIG)
    with compose.opened(paths.extra_dirs(call.flags)):
        config, problems = replay.replay(runs.read_config(folder / runs.CONFIG), overrides)
    problems += resume.refused(saved, config)
    settle(config, overrides, problems)
    done = runs.read_result(folder)
    if done is not None and resume.lengths(config) == resume.lengths(saved):
        hint = f"more: trainer.max_epochs={2 * config['trainer']['max_epochs']}"
        if config["trainer"]["max_steps"] is not None:
            hint += f" trainer.max_steps={2 * config['trainer']['max_steps']}"
        print(f"{folder} is complete; nothing is left to do ({hint})", file=sys.stderr)
        return Result("trained", done)
    for text in resume.warnings(saved, config):
        print(f"cnnctl: {text}", file=sys.stderr)
    return _go_on(call, folder, config, other=resume.shares(saved, config))


def _go_on(call: Call, folder: Path, config: dict[str, Any], *, other: bool) -> Result:
    from cnnctl.commands import job
    from cnnctl.training import ranks, start, store

    ranks.adopt()
    ready = job.prepare(config, call.overrides, build="--dry-run" not in call.flags)
    last = folder / runs.CHECKPOINTS / runs.LAST
    if last.exists():  # config.yaml may have been edited, or the checkpoint be another run's
        problems = resume.refused(store.configuration(last), config)
        if problems:
            raise ConfigError(problems)
    if (folder / runs.PLAN).is_file():  # or it was ended before there was one
        _same(runs.read_plan(folder), ready.plan.document())
    train = ready.train
    if other and not train.hardware.sync_batchnorm and start.has_batchnorm(ready):
        text = "batch normalisation would see other images together than the run has so far"
        raise ConfigError([Problem(text, PARTS)])
    if other and isinstance(train.loss, Dice):
        text = "loss=dice would see other images together than the run has so far"
        raise ConfigError([Problem(text, PARTS)])
    if "--dry-run" in call.flags:
        return Result("plan", ready.plan.document())
    ranks.agree(ready.plan.device, lambda: folder)
    return Result("trained", job.carry_out(ready, folder))


def _same(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ConfigError if the data is not what it was, or steps would take other images."""
    problems = [
        Problem(f"{name} of this run: {_told(before.get(name))}, now {_told(now[name])}", key=name)
        for name in SAME
        if name != "images" and _plain(before.get(name)) != _plain(now[name])
    ]
    if not problems and before.get("images") != now["images"]:
        text = "the images are not those that the run began with: names or labels differ"
        problems = [Problem(text, "a new run: cnnctl train --config …", "data")]
    if problems:
        raise ConfigError(problems)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count:,}" for name, count in value.items())
    if isinstance(value, (list, tuple)):
        return f"{len(value)} ({', '.join(value[:FEW])}{', …' if len(value) > FEW else ''})"
    return f"{value:,}" if isinstance(value, int) else str(value)
