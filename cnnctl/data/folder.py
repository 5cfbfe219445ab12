"""Your own images, from wherever data.root leads, in the splits that training wants.

Class numbers come from train, and every split must have the same classes, so that a number
never means two of them. Nothing is decoded here.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cnnctl.config.images import Data, Folder
from cnnctl.config.near import did_you_mean
from cnnctl.data import listing, quarantine
from cnnctl.data.files import Chained
from cnnctl.data.listing import SUFFIXES
from cnnctl.data.source import Encoded, Images, Part, Source
from cnnctl.data.split import divide
from cnnctl.errors import DataError

ARCHIVES = (".tar", ".zip")
KINDS = "a folder, .tar, .zip, .csv, .parquet, shards like a-{000..127}.tar, or hf://NAME"
SAVED = ("dataset_dict.json", "state.json")  # what a data set of Hugging Face is saved with
SPLITS = ("train", "val", "test")


def load(data: Data) -> Source:
    """List and split data.root; raises DataError, naming what is wrong with it."""
    assert isinstance(data, Folder)
    parts, where = _found(data.root)
    if "train" not in parts:
        raise DataError(f"{data.root} has no train split, only {', '.join(parts)}")
    parts = _agreed(parts, where, folders=Path(data.root).expanduser().is_dir())
    classes = parts["train"].classes
    if data.folds is not None and "val" in parts:
        parts["train"] = _joined(parts["train"], parts.pop("val"))
    others = [name for name in parts if name != "train"]
    cut = divide(parts["train"].labels, data, classes, others)
    splits: dict[str, Images] = {}
    for name in SPLITS:
        if name in cut:
            blobs, labels, _ = parts["train"]
            chosen = cut[name]
            splits[name] = Encoded(blobs, labels[chosen], data.channels, indices=chosen)
        elif name in parts:
            splits[name] = Encoded(parts[name].blobs, parts[name].labels, data.channels)
    drawn = tuple(name for name in SPLITS if name in cut and name != "train")
    source = Source(classes, splits, drawn=drawn)
    if data.quarantine is None:
        return source
    return quarantine.without(source, Path(data.quarantine).expanduser(), data.root)


def _found(root: str) -> tuple[dict[str, Part], dict[str, str]]:
    """The splits, and where each of them is, for messages."""
    from cnnctl.data import archives, shards, tables

    path, name = Path(root).expanduser(), root.lower()
    endings = _endings(path)
    if name.startswith("hf://") or any((path / file).is_file() for file in SAVED):
        parts = tables.hugging_face(root)
    elif ("{" in root and not path.exists()) or ".tar" in endings:
        parts = shards.parts(root)
    elif ".parquet" in endings or any((path / "data").glob("*.parquet")):
        parts = tables.parquet(root)
    elif path.is_dir():
        parts = listing.parts(path)
        return parts, {split: str(path / at) for split, at in listing.places(path).items()}
    elif not path.exists():
        raise DataError(f"data.root does not exist: {path}", KINDS)
    elif name.endswith(".csv"):
        parts = tables.csv(root)
    elif name.endswith(".parquet"):
        parts = tables.parquet(root)
    elif name.endswith((*ARCHIVES, *archives.PACKED)):
        parts = archives.parts(root)
    else:
        raise DataError(f"data.root is of no known kind: {path}", KINDS)
    return parts, {split: f"{split} of {root}" for split in parts}


def _endings(root: Path) -> set[str]:
    """Of the files in a folder, or in its train folder; none where there are class folders."""
    place = root / "train" if (root / "train").is_dir() else root
    if not place.is_dir():
        return set()
    with os.scandir(place) as entries:
        found = [(entry.name, entry.is_dir()) for entry in entries if entry.name[0] != "."]
    return set() if any(folder for _, folder in found) else {Path(name).suffix for name, _ in found}


def _agreed(parts: dict[str, Part], where: dict[str, str], *, folders: bool) -> dict[str, Part]:
    """The parts, numbered as the classes of train are, if they have no others.

    Of a class folder that is empty or missing one may think that it was forgotten; a table of
    a few images need not have every class.
    """
    classes = parts["train"].classes
    numbers = {name: number for number, name in enumerate(classes)}
    if len(classes) == 1:
        raise DataError(f"{where['train']} has one class only: {classes[0]}", "give two or more")
    agreed: dict[str, Part] = {}
    for split, part in parts.items():
        _known_classes(part.classes, classes, where[split], where["train"])
        if folders:
            _all_classes(part.classes, classes, where[split], where["train"])
        labels = np.array([numbers[name] for name in part.classes])[part.labels]
        counts = np.bincount(labels, minlength=len(classes))
        if not counts.all() and (folders or split == "train"):
            text = f"{where[split]} has no images of class '{classes[int(counts.argmin())]}'"
            hint = f"known endings: {' '.join(sorted(SUFFIXES))}" if folders else None
            raise DataError(text, hint)
        agreed[split] = Part(part.blobs, labels, classes)
    return agreed


def _known_classes(
    given: tuple[str, ...], classes: tuple[str, ...], place: str, train: str
) -> None:  # fmt: skip
    if unknown := sorted({*given} - {*classes}):
        text = f"{place} has class '{unknown[0]}', which {train} lacks"
        raise DataError(text, did_you_mean(unknown[0], classes))


def _all_classes(given: tuple[str, ...], classes: tuple[str, ...], place: str, train: str) -> None:
    if missing := sorted({*classes} - {*given}):
        text = f"{train} has class '{missing[0]}', which {place} lacks"
        raise DataError(text, did_you_mean(missing[0], given) or "every split needs every class")


def _joined(first: Part, second: Part) -> Part:
    """Both, one after the other."""
    labels = np.concatenate([first.labels, second.labels])
    return Part(Chained(first.blobs, second.blobs), labels, first.classes)
