"""cnnctl evaluate: how good a net is on one split, with everything needed to believe it."""

from __future__ import annotations

from cnnctl.commands import Call, trained
from cnnctl.config import compose, paths, verbs
from cnnctl.errors import UsageError
from cnnctl.report.result import Result


def run(call: Call) -> Result:
    """Measure; raises RunError, CheckpointError, DataError or ConfigError before it starts."""
    if len(call.targets) != 1:
        hint = "cnnctl evaluate latest, or see: cnnctl list runs"
        raise UsageError(f"evaluate takes one run, got {len(call.targets)}", hint)
    ask = trained.asked(call, verbs.Evaluate)
    with compose.opened(paths.extra_dirs(call.flags)):
        evaluate = trained.keys(verbs.Evaluate, ask)
        one = trained.find(call.targets[0], evaluate.checkpoint, ask)
    from cnnctl.report import progress
    from cnnctl.scoring.scores import score
    from cnnctl.scoring.ways import Way

    where = trained.device(one, "evaluate")
    source = trained.ready(one)
    scorer = trained.scorer(one, trained.classes(one, source), where)
    way = Way(flip=one.train.trainer.test_flip)
    with progress.reading(one.train.progress) as tell:
        scores = score(scorer, source, evaluate.split, one.train, way, tell)
    place = {"run": one.name, "checkpoint": str(one.file), "split": evaluate.split}
    top1 = float((scores.logits.argmax(1) == scores.labels).float().mean())
    return Result("evaluated", place | {"n": len(scores), "top1": top1, "loss": scores.loss})
