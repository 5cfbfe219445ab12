"""What an evaluation measures, and the document about it. Imports torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnctl import weights
from cnnctl.commands import held_out, kept, trained
from cnnctl.commands.kept import Part
from cnnctl.commands.trained import Trained
from cnnctl.config.schema import Train
from cnnctl.config.verbs import Evaluate
from cnnctl.data.source import Source
from cnnctl.errors import DataError
from cnnctl.report import progress
from cnnctl.report.result import Result
from cnnctl.scoring import calibration, compare, ensemble, figures, predictions, ways
from cnnctl.scoring.predictions import Predictions
from cnnctl.scoring.scorer import Eager, Scorer
from cnnctl.scoring.scores import Scores, Tell, score
from cnnctl.scoring.ways import Way
from cnnctl.training.noise import plain_errors

FITTED = 5000  # images of val that are enough for one temperature
WHOLE = 4  # bytes of the weights whose hash is that of the file
ON_VAL = "it would be fitted on val and judged by the same images"
NO_VAL = "there is no split val to fit it on"
OTHER_VAL = "the nets have different images in val, on which some were trained"


@dataclass(frozen=True)
class Measured:
    """A net's answers to the images of a split of `source`, and what is known of the net.

    `val` is what it says of images to fit a temperature on; without it, `why` says the reason.
    """

    about: dict[str, Any]
    train: Train
    source: Source
    way: Way
    found: Predictions
    val: Scores | None
    why: str | None
    robustness: dict[str, Any] | None = None


def result(nets: Sequence[Trained], evaluate: Evaluate, flags: Mapping[str, str]) -> Result:
    """Of one net, of two against each other (--compare) or of several together (--ensemble)."""
    predictions.check(evaluate.predictions)
    measured = measure(nets, evaluate)
    if "--ensemble" in flags:
        return Result("ensemble", several(measured, evaluate))
    if "--compare" in flags:
        return Result("paired", pair(measured, evaluate))
    return Result("evaluated", single(measured[0], evaluate))


def measure(nets: Sequence[Trained], evaluate: Evaluate) -> list[Measured]:
    """What each of them says. Raises DataError for other classes, or if they see other images."""
    done: list[Measured] = []
    for one in nets:
        source = _source(one, done)
        where = trained.device(one, "evaluate")
        scorer = trained.scorer(one, trained.classes(one, source), where)
        if line := held_out.warning(one, source, evaluate.split):
            print(f"cnnctl: {line}", file=sys.stderr)
        with plain_errors(), progress.reading(one.train.progress) as tell:
            done.append(_measured(one, source, scorer, evaluate, tell))
        names = (nets[0].name, one.name)
        compare.same_images(done[0].found.scores, done[-1].found.scores, names)
    return done


def single(measured: Measured, evaluate: Evaluate) -> dict[str, Any]:
    """The result for one net, kept in a folder."""
    train = measured.train
    told = document(measured, evaluate.split)
    return kept.keep(evaluate, train, train.model["name"], told, [_part(measured, told)])


def pair(measured: Sequence[Measured], evaluate: Evaluate) -> dict[str, Any]:
    """The result for two nets, the second against the first, kept in a folder."""
    train = measured[0].train
    first, second = (one.found for one in measured)
    told = [document(one, evaluate.split) for one in measured]
    whole = {
        "split": evaluate.split, "n": len(first), "nets": told,
        "comparison": compare.compare(first, second, train.seed),
    }  # fmt: skip
    parts = [_part(one, its) for one, its in zip(measured, told, strict=True)]
    return kept.keep(evaluate, train, "compare", whole, parts)


def several(members: Sequence[Measured], evaluate: Evaluate) -> dict[str, Any]:
    """The result for several nets together, and for each alone, kept in a folder."""
    train = members[0].train
    found = predictions.of(ensemble.together([one.found.scores for one in members]))
    val, why = _val(members)
    nobody = dict.fromkeys(members[0].about)
    whole = replace(members[0], about=nobody, found=found, val=val, why=why)
    told = document(whole, evaluate.split)
    told["ensemble"] = {
        "members": [_alone(one) for one in members],
        **ensemble.gains([one.found for one in members], found, train.seed),
    }
    return kept.keep(evaluate, train, "ensemble", told, [_part(whole, told)])


def document(measured: Measured, split: str) -> dict[str, Any]:
    """What is known of one net; keys are those of the JSON contract."""
    found, seconds = measured.found, measured.found.scores.seconds
    return {
        **measured.about,
        "split": split,
        "way": asdict(measured.way),
        **figures.figures(found, measured.train.seed),
        "calibration": calibration.calibration(found, measured.val, measured.why),
        "robustness": measured.robustness,
        "seconds": seconds,
        "images_per_second": len(found) / seconds,
    }


def _part(measured: Measured, told: dict[str, Any]) -> Part:
    return Part(measured.found, told, measured.source.splits[told["split"]])


def _measured(
    one: Trained, source: Source, scorer: Scorer, evaluate: Evaluate, tell: Tell
) -> Measured:
    train = one.train
    way = ways.chosen(evaluate, train)
    scores = score(scorer, source, evaluate.split, train, way, tell)
    val, why, swept = None, ON_VAL if evaluate.split == "val" else None, None
    if why is None and "val" not in source.splits:
        why = NO_VAL
    if why is None:
        val = score(scorer, _some(source), "val", train, way, tell)
    if evaluate.robustness:
        from cnnctl.scoring import robustness

        kinds = evaluate.robustness
        swept = robustness.sweep(scorer, source, evaluate.split, train, way, kinds, tell)
    about = {
        "target": one.target, "run": one.name, "checkpoint": str(one.file),
        "weights_sha256": _sha256(one, scorer),
    }  # fmt: skip
    return Measured(about, train, source, way, predictions.of(scores), val, why, swept)


def _val(members: Sequence[Measured]) -> tuple[Scores | None, str | None]:
    """What they say together of the images of val, or why there are none for all of them."""
    vals = [one.val for one in members if one.val is not None]
    if len(vals) < len(members):
        return None, next(one.why for one in members if one.val is None)
    try:
        for one in vals[1:]:
            compare.same_images(vals[0], one, ("one", "the other"))
    except DataError:
        return None, OTHER_VAL
    return ensemble.together(vals), None


def _source(one: Trained, done: Sequence[Measured]) -> Source:
    """The images of a configuration; those of a net before it, if they are the same."""
    for earlier in done:
        other, train = earlier.train, one.train
        if (other.data, other.augment, other.hardware) == (
            train.data,
            train.augment,
            train.hardware,
        ):
            return earlier.source
    return trained.ready(one)


def _some(source: Source) -> Source:
    """With so many images of val, evenly spread, as a temperature takes."""
    images = source.splits["val"]
    if len(images.labels) <= FITTED:
        return source
    places = np.linspace(0, len(images.labels) - 1, FITTED).astype(np.int64)
    return replace(source, splits={**source.splits, "val": images.pick(places)})


def _sha256(one: Trained, scorer: Scorer) -> str | None:
    """Of the weights in the file, where they are known."""
    if one.saved is not None:
        return weights.sha256(one.saved.weights)
    if one.manifest is not None:
        return one.manifest.weights_sha256
    if not isinstance(scorer, Eager) or not (scorer.mixed or scorer.type.itemsize == WHOLE):
        return None
    return weights.sha256(scorer.net.state_dict())


def _alone(measured: Measured) -> dict[str, Any]:
    """A member of an ensemble."""
    told = figures.figures(measured.found, measured.train.seed)
    return {
        "name": Path(measured.about["run"]).name, **measured.about,
        "metrics": told["metrics"], "intervals": told["intervals"],
    }  # fmt: skip
