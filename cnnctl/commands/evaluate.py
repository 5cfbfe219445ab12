"""cnnctl evaluate: a run's best (or last, or any) checkpoint on one of its splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl import runs
from cnnctl.commands import Call
from cnnctl.commands.settle import settle
from cnnctl.config import compose, paths, preflight, replay, schema
from cnnctl.config.overrides import key_of, quoted
from cnnctl.config.read import read
from cnnctl.errors import Problem, UsageError
from cnnctl.report.result import Result

if TYPE_CHECKING:
    from cnnctl.weights import Checkpoint

FROM_RUN = ("data", "hardware", "outputs")  # what may be changed of the run's configuration


def run(call: Call) -> Result:
    """Measure; raises RunError, CheckpointError, DataError or ConfigError before it starts."""
    if len(call.targets) != 1:
        hint = "cnnctl evaluate latest, or see: cnnctl list runs"
        raise UsageError(f"evaluate takes one run, got {len(call.targets)}", hint)
    target = Path(call.targets[0])
    own, of_run, unknown = _sorted_out([quoted(override) for override in call.overrides])
    folder = None if target.is_file() else runs.find(call.targets[0], _outputs(of_run))
    if folder is None:
        unknown += [
            Problem(f"'{text}' has no effect: {target} is a checkpoint", key=key_of(text))
            for text in own
            if key_of(text) == "checkpoint"
        ]
    with compose.opened(paths.extra_dirs(call.flags)):
        config, problems = compose.compose("evaluate", own)
        evaluate, found = read(schema.Evaluate, config)
        problems = preflight.merge([*problems, *unknown], found)
        preflight.require(problems)
        assert evaluate is not None
        if folder is None:
            file, saved = target, _read(target)
            config = saved.config
        else:  # a typo beside a run is told before torch is imported for its checkpoint
            file, saved = _checkpoint(folder, evaluate.checkpoint), None
            config = runs.read_config(folder / runs.CONFIG)
        base, problems = replay.replay(_on_one_device(config), of_run)
    train, spec = settle(base, of_run, problems)
    from cnnctl.commands import job
    from cnnctl.training import measure

    saved = saved or _read(file)
    figures = measure.checkpoint(saved, train, spec, job.ready(train), evaluate.split)
    place = {"run": str(folder or file), "checkpoint": str(file), "split": evaluate.split}
    return Result("evaluated", place | figures)


def _sorted_out(overrides: list[str]) -> tuple[list[str], list[str], list[Problem]]:
    """Overrides of evaluate itself, those of the run's configuration, and the others."""
    own, of_run, unknown = [], [], []
    for override in overrides:
        section = key_of(override).partition(".")[0]
        if section in FROM_RUN:
            of_run.append(override)
        elif key_of(override) in schema.Evaluate.__dataclass_fields__:  # checkpoint=last
            own.append(override)
        elif section in schema.Train.__dataclass_fields__:
            text = f"'{override}' has no effect on an evaluation: the run has its own {section}"
            unknown.append(Problem(text, f"change {', '.join(FROM_RUN)} only", key_of(override)))
        else:
            own.append(override)
    return own, of_run, unknown


def _outputs(overrides: list[str]) -> str:
    """Where runs are looked for by name."""
    given = [text.partition("=")[2] for text in overrides if key_of(text) == "outputs"]
    return given[-1].strip("'\"") if given else "outputs"


def _checkpoint(folder: Path, name: str) -> Path:
    """The names best and last mean files in the run; anything else is a file."""
    return folder / runs.CHECKPOINTS / f"{name}.ckpt" if name in ("best", "last") else Path(name)


def _read(file: Path) -> Checkpoint:
    """The checkpoint; torch is imported here."""
    from cnnctl import weights

    return weights.read(file)


def _on_one_device(config: dict[str, Any]) -> dict[str, Any]:
    """The saved configuration for one device: however many trained the net, one measures it."""
    hardware = {**config.get("hardware", {}), "devices": 1, "num_nodes": 1, "strategy": "auto"}
    hardware |= {"sync_batchnorm": False}
    return {**config, "hardware": hardware}
