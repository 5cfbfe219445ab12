"""What an evaluation of masks measures, and the document about it. Imports torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from cnnctl.commands import held_out, kept_masks, trained
from cnnctl.commands.kept_masks import Part
from cnnctl.commands.trained import Trained
from cnnctl.config.verbs import Evaluate
from cnnctl.data.pairs import Pairs
from cnnctl.report import progress
from cnnctl.report.result import Result
from cnnctl.scoring import boundary, masks, masks_compare, masks_figures, predictions, tiles
from cnnctl.scoring.masks import Asked, Judging, MaskScores
from cnnctl.training.noise import plain_errors
from cnnctl.weights import sha256


def result(nets: Sequence[Trained], evaluate: Evaluate, flags: Mapping[str, str]) -> Result:
    """Of one net, of two against each other (--compare) or of several together (--ensemble)."""
    predictions.check(evaluate.predictions)
    asked = [_asked(one, evaluate) for one in nets]
    judging = Judging(
        evaluate.split, evaluate.boundary or boundary.TOLERANCE, evaluate.mistakes
    )  # fmt: skip
    train = nets[0].train
    if "--ensemble" in flags:
        with plain_errors(), progress.reading(train.progress) as tell:
            found = masks.score(asked, judging, tell)
        return Result("masks_together", _several(nets, asked, found, evaluate))
    found = []
    for one in asked:
        with plain_errors(), progress.reading(train.progress) as tell:
            found += masks.score([one], judging, tell)
        masks.same(found[0], found[-1], (asked[0].name, one.name))
    if "--compare" in flags:
        return Result("masks_paired", _pair(nets, asked, found, evaluate))
    told = _document(nets[0], asked[0], found[0], evaluate)
    parts = [_part(asked[0], found[0], told)]
    whole = kept_masks.keep(evaluate, train, train.model["name"], told, parts)
    return Result("masks_evaluated", whole)


def _asked(one: Trained, evaluate: Evaluate) -> Asked:
    """A net and its images; with evaluate.tile it sees them part by part."""
    source, where = trained.ready(one), trained.device(one, "evaluate")
    scorer = trained.scorer(one, trained.classes(one, source), where)
    if evaluate.tile is not None:
        scorer = tiles.tiled(scorer, evaluate.tile, tiles.of(scorer, one.spec, one.train))
    if line := held_out.warning(one, source, evaluate.split):
        print(f"cnnctl: {line}", file=sys.stderr)
    flip = one.train.trainer.test_flip if evaluate.flip is None else evaluate.flip
    return Asked(one.name, scorer, source, one.train, flip)


def _document(
    one: Trained, asked: Asked, found: MaskScores, evaluate: Evaluate
) -> dict[str, Any]:  # fmt: skip
    """What is known of one net; keys are those of the JSON contract."""
    return {**_about(one), **_figures(asked, found, evaluate)}


def _about(one: Trained) -> dict[str, Any]:
    known = one.manifest.weights_sha256 if one.manifest is not None else None
    return {
        "target": one.target, "run": one.name, "checkpoint": str(one.file),
        "weights_sha256": sha256(one.saved.weights) if one.saved is not None else known,
    }  # fmt: skip


def _figures(asked: Asked, found: MaskScores, evaluate: Evaluate) -> dict[str, Any]:
    """How good the answers are, and how images were looked at."""
    return {
        "task": "segment",
        "split": evaluate.split,
        "way": {
            "flip": asked.flip, "tile": evaluate.tile,
            "boundary": evaluate.boundary or boundary.TOLERANCE,
        },
        **masks_figures.figures(found, asked.train.seed),
        "seconds": found.seconds,
        "images_per_second": len(found) / found.seconds,
    }  # fmt: skip


def _pair(
    nets: Sequence[Trained], asked: Sequence[Asked], found: Sequence[MaskScores],
    evaluate: Evaluate,
) -> dict[str, Any]:  # fmt: skip
    """The second against the first, kept in a folder."""
    train = nets[0].train
    told = [
        _document(one, its, scores, evaluate)
        for one, its, scores in zip(nets, asked, found, strict=True)
    ]
    whole = {
        "task": "segment", "split": evaluate.split, "n": len(found[0]), "nets": told,
        "comparison": masks_compare.compare(found[0], found[1], train.seed),
    }  # fmt: skip
    parts = [_part(*one) for one in zip(asked, found, told, strict=True)]
    return kept_masks.keep(evaluate, train, "compare", whole, parts)


def _several(
    nets: Sequence[Trained], asked: Sequence[Asked], found: Sequence[MaskScores],
    evaluate: Evaluate,
) -> dict[str, Any]:  # fmt: skip
    """All together, of whom `found` has the last, and each alone; kept in a folder."""
    train, (*members, together) = nets[0].train, found
    told = {**dict.fromkeys(_about(nets[0])), **_figures(asked[0], together, evaluate)}
    told["way"]["flip"] = all(one.flip for one in asked)
    told["ensemble"] = {
        "members": [_alone(*one) for one in zip(nets, members, strict=True)],
        **masks_compare.gains(members, together, train.seed),
    }
    parts = [_part(asked[0], together, told)]
    return kept_masks.keep(evaluate, train, "ensemble", told, parts)


def _alone(one: Trained, found: MaskScores) -> dict[str, Any]:
    """A member of an ensemble."""
    told = masks_figures.figures(found, one.train.seed)
    return {
        "name": Path(one.name).name, **_about(one),
        "metrics": told["metrics"], "intervals": told["intervals"],
    }  # fmt: skip


def _part(asked: Asked, found: MaskScores, told: dict[str, Any]) -> Part:
    return Part(found, told, cast("Pairs", asked.source.splits[told["split"]]))
