"""What an evaluation of images that nets make anew measures, and its document. Imports torch."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnctl.commands import held_out, kept, trained
from cnnctl.commands.trained import Trained
from cnnctl.config import preflight, rules_reconstruct
from cnnctl.config.verbs import Evaluate
from cnnctl.data.source import Source
from cnnctl.errors import DataError
from cnnctl.report import panels, progress
from cnnctl.report.format import count, percent
from cnnctl.report.panels import Panel
from cnnctl.report.result import Result
from cnnctl.scoring import reconstructions
from cnnctl.scoring.reconstructions import Asker, Reconstructions
from cnnctl.tasks.reconstruct import likeness
from cnnctl.training.noise import plain_errors
from cnnctl.weights import sha256

COLUMNS = ("file", "mse", "psnr", "explained")  # of the CSV
DIGITS = 7  # of float32


def result(nets: Sequence[Trained], evaluate: Evaluate, flags: Mapping[str, str]) -> Result:
    """Of one net, of two against each other (--compare) or of several together (--ensemble)."""
    preflight.require(list(rules_reconstruct.evaluate(evaluate)))
    sources = [trained.ready(one) for one in nets]
    _same(nets, sources, evaluate.split)
    askers = [_asker(one, source, evaluate) for one, source in zip(nets, sources, strict=True)]
    with plain_errors(), progress.reading(nets[0].train.progress) as tell:
        found = reconstructions.measure(askers, sources[0], evaluate.split, evaluate.mistakes, tell)
    told = [
        _document(one, asker, its, evaluate)
        for one, asker, its in zip(nets, askers, found, strict=False)
    ]
    if "--ensemble" in flags:
        return Result("remade_together", _several(nets, evaluate, found, told))
    if "--compare" in flags:
        return Result("remade_paired", _pair(nets, evaluate, found, told))
    name = nets[0].train.model["name"]
    return Result("remade", _kept(nets, evaluate, name, told[0], [(found[0], told[0])]))


def _same(nets: Sequence[Trained], sources: Sequence[Source], split: str) -> None:
    """Raise DataError if there is no such split, or if the nets see other images."""
    for one, source in zip(nets, sources, strict=True):
        if split not in source.splits:
            has = ", ".join(source.splits)
            raise DataError(f"{one.train.data.name} has no split '{split}', only {has}")
        if line := held_out.warning(one, source, split):
            print(f"cnnctl: {line}", file=sys.stderr)
    hint = "give both the same: data=…, or data.split_seed=…"
    first, images = nets[0], sources[0].splits[split]
    for one, source in zip(nets[1:], sources[1:], strict=True):
        other, sizes = source.splits[split], [
            f"{net.train.data.channels}×{net.train.data.size}×{net.train.data.size}"
            for net in (first, one)
        ]  # fmt: skip
        if sizes[0] != sizes[1]:
            text = f"{first.name} makes images of {sizes[0]}, {one.name} of {sizes[1]}"
            raise DataError(text, "nets for images of one size")
        if len(images.labels) != len(other.labels):
            text = f"{first.name} has {len(images.labels):,}, {one.name} {len(other.labels):,}"
            raise DataError(f"they are not measured on the same images: {text}", hint)
        for place in range(len(images.labels)):
            names = images.name(place), other.name(place)
            if names[0] != names[1] and len({os.path.realpath(name) for name in names}) > 1:
                text = f"image {place + 1} of {first.name} is {names[0]}, of {one.name} {names[1]}"
                raise DataError(f"they are not measured on the same images: {text}", hint)


def _asker(one: Trained, source: Source, evaluate: Evaluate) -> Asker:
    scorer = trained.scorer(one, trained.classes(one, source), trained.device(one, "evaluate"))
    flip = one.train.trainer.test_flip if evaluate.flip is None else evaluate.flip
    return Asker(scorer, one.train, flip)


def _document(
    one: Trained, asker: Asker, found: Reconstructions, evaluate: Evaluate
) -> dict[str, Any]:
    """What is known of one net; keys are those of the JSON contract."""
    known = one.manifest.weights_sha256 if one.manifest is not None else None
    return {
        "target": one.target, "run": one.name, "checkpoint": str(one.file),
        "weights_sha256": sha256(one.saved.weights) if one.saved is not None else known,
        "split": evaluate.split, "flip": asker.flip,
        **reconstructions.figures(found, one.train.seed),
        **_speed(found),
    }  # fmt: skip


def _speed(found: Reconstructions) -> dict[str, float]:
    return {"seconds": found.seconds, "images_per_second": len(found) / found.seconds}


def _pair(
    nets: Sequence[Trained], evaluate: Evaluate, found: Sequence[Reconstructions],
    told: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """The second against the first."""
    whole = {
        "split": evaluate.split, "n": len(found[0]), "nets": told,
        "comparison": reconstructions.compare(found[0], found[1], nets[0].train.seed),
    }  # fmt: skip
    parts = list(zip(found[:2], told, strict=True))
    return _kept(nets, evaluate, "compare", whole, parts)


def _several(
    nets: Sequence[Trained], evaluate: Evaluate, found: Sequence[Reconstructions],
    told: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """The mean of what they make, and each alone; the best of them by these very images."""
    seed, whole = nets[0].train.seed, found[-1]
    best = max(range(len(nets)), key=lambda place: told[place]["metrics"]["explained"])
    document = {
        "split": evaluate.split, **reconstructions.figures(whole, seed),
        "ensemble": {
            "members": told, "best": best,
            "gain_over_best": reconstructions.compare(found[best], whole, seed),
        },
        **_speed(whole),
    }  # fmt: skip
    return _kept(nets, evaluate, "ensemble", document, [(whole, document)])


def _kept(
    nets: Sequence[Trained], evaluate: Evaluate, what: str, whole: dict[str, Any],
    parts: Sequence[tuple[Reconstructions, dict[str, Any]]],
) -> dict[str, Any]:  # fmt: skip
    """`whole`, after result.json, a row for each image and a sheet of the worst are written."""

    def write(folder: Path) -> list[str]:
        files = []
        for number, (found, told) in enumerate(parts, start=1):
            end = f"_{number}" if len(parts) > 1 else ""
            told["predictions"] = None
            if evaluate.predictions != "none":
                files.append(f"predictions{end}.csv")
                told["predictions"] = str(folder / files[-1])
                _rows(found, folder / files[-1])
            if found.worst:
                files.append(f"worst{end}.png")
                (folder / files[-1]).write_bytes(sheet(found))
        return files

    return kept.filled(nets[0].train, what, whole, write)


def _rows(found: Reconstructions, file: Path) -> None:
    """What became of every image; explained is of its own differences from its own mean."""
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, row in zip(found.names, found.sums.tolist(), strict=True):
            figures = likeness(row)
            writer.writerow([name, *(f"{figures[key]:.{DIGITS}g}" for key in COLUMNS[1:])])


def sheet(found: Reconstructions) -> bytes:
    """A PNG of the worst images, each beside what was made of it."""
    shown = []
    for place, true, made in found.worst:
        gap = np.full(
            (*true.shape[:2], max(1, true.shape[2] // 16)), reconstructions.WHITE, np.uint8
        )
        figures = likeness(found.sums[place].tolist())
        words = f"explained {percent(figures['explained'])} · {figures['psnr']:.1f} dB"
        name = Path(found.names[place]).name
        shown.append(Panel(np.concatenate((true, gap, made), 2), name, words))
    plural = "s" if len(shown) > 1 else ""
    title = f"the {count(len(shown))} image{plural} of the largest error, and what was made of them"
    return panels.png(shown, title)
