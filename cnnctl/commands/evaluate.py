"""cnnctl evaluate: how good a net is on one split, with everything needed to believe it."""

from __future__ import annotations

from collections.abc import Sequence

from cnnctl.commands import Call, trained
from cnnctl.commands.trained import Trained
from cnnctl.config import compose, paths, preflight, rules_verbs, tasks, verbs
from cnnctl.config.verbs import Evaluate
from cnnctl.errors import Problem, UsageError
from cnnctl.report.result import Result

COMPARE, ENSEMBLE = "--compare", "--ensemble"


def run(call: Call) -> Result:
    """Measure, and keep it in a folder.

    Raises UsageError, RunError, CheckpointError, DataError or ConfigError before it starts.
    """
    _targets(call)
    ask = trained.asked(call, verbs.Evaluate)
    with compose.opened(paths.extra_dirs(call.flags)):
        evaluate = trained.keys(verbs.Evaluate, ask)
        preflight.require([*rules_verbs.evaluate(evaluate), *_without_effect(evaluate, call)])
        found = [trained.find(target, evaluate.checkpoint, ask) for target in call.targets]
    task = _task(found)
    preflight.require(rules_verbs.of_task(evaluate, task))
    for one in found:
        preflight.require(rules_verbs.on_images(evaluate, one.train.data))
    _others(found)
    from cnnctl.commands import evaluated, evaluated_images, evaluated_masks

    results = {
        "classify": evaluated.result, "segment": evaluated_masks.result,
        "reconstruct": evaluated_images.result,
    }  # fmt: skip
    return results[task](found, evaluate, call.flags)


def _targets(call: Call) -> None:
    """Raise UsageError unless there are as many nets as the flags want."""
    flags, number = [flag for flag in (COMPARE, ENSEMBLE) if flag in call.flags], len(call.targets)
    if len(flags) > 1:
        raise UsageError("--compare and --ensemble do not go together", "one after the other")
    if flags == [COMPARE] and number != 2:  # noqa: PLR2004 - a pair
        hint = "cnnctl evaluate RUN_A RUN_B --compare"
        raise UsageError(f"--compare takes two nets, got {number}", hint)
    if flags == [ENSEMBLE] and number < 2:  # noqa: PLR2004 - several
        hint = "cnnctl evaluate RUN1 RUN2 --ensemble"
        raise UsageError(f"--ensemble takes two nets or more, got {number}", hint)
    if not flags and number != 1:
        hint = "cnnctl evaluate latest, or see: cnnctl list runs"
        if number:
            hint = "--compare for two of them, --ensemble for all together"
        raise UsageError(f"evaluate takes one run, got {number}", hint)


def _without_effect(evaluate: Evaluate, call: Call) -> list[Problem]:
    """Keys that a flag leaves nothing to do."""
    if evaluate.robustness and ENSEMBLE in call.flags:
        text = "'robustness' has no effect with --ensemble: it is measured net by net"
        return [Problem(text, "leave it out, or give one run", "robustness")]
    return []


def _task(found: Sequence[Trained]) -> tasks.Task:
    """What all of them have learned. Raises UsageError if that is not the same."""
    learned: dict[tasks.Task, str] = {tasks.of(one.config["model"]): one.target for one in found}
    if len(learned) > 1:
        (task, target), (other, second), *_ = learned.items()
        text = f"{target} was trained to {task}, {second} to {other}: nothing compares the two"
        raise UsageError(text, "nets of one kind")
    return next(iter(learned))


def _others(found: Sequence[Trained]) -> None:
    """Raise UsageError if a net is given twice."""
    files: dict[str, Trained] = {}
    for one in found:
        twice = files.setdefault(str(one.file.resolve()), one)
        if twice is not one:
            text = f"{one.target} and {twice.target} are the same net: {one.file}"
            raise UsageError(
                text,
                "two epochs of one run: RUN/checkpoints/best.ckpt and last.ckpt",
            )
