"""A list of images to leave out, kept in a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnctl.config.near import did_you_mean
from cnnctl.data.source import Images, Source
from cnnctl.errors import DataError

NEAR = 1000  # names that a wrong one is compared with


class Line(NamedTuple):
    """One image to leave out: where it is listed, as what, and why."""

    number: int
    path: str
    reason: str


def without(source: Source, file: Path, root: str) -> Source:
    """The source without the images that `file` lists; all others stay in their splits.

    A line holds a path, absolute, below `root` or as messages name the image, and after a tab
    the reason, if there is one; empty lines and those that begin with # do not count. Raises
    DataError for a file that cannot be read, a line that names no image, and a class of which
    nothing is left.
    """
    wanted: dict[str, Line] = {}
    lines = list(_lines(file))
    for line in lines:
        wanted |= dict.fromkeys(_spellings(line.path, root), line)
    splits: dict[str, Images] = {}
    skipped: dict[str, str] = {}
    for split, images in source.splits.items():
        kept = np.ones(len(images.labels), bool)
        for index in range(len(kept)):
            name = images.name(index)
            if line := wanted.get(name):
                kept[index] = False
                skipped[name] = line.reason
        splits[split] = images.pick(np.flatnonzero(kept))
        _complete(splits[split], split, file, source.classes)
    for line in lines:
        if skipped.keys().isdisjoint(_spellings(line.path, root)):
            text = f"{file}, line {line.number}: {line.path} is no image of {root}"
            raise DataError(text, _nearest(line.path, source, root))
    return replace(source, splits=splits, skipped={**source.skipped, **skipped})


def _lines(file: Path) -> Iterator[Line]:
    try:
        text = os.fsdecode(file.read_bytes())  # as file names, which need not be UTF-8
    except OSError as wrong:
        raise DataError(f"cannot read data.quarantine={file}: {wrong.strerror}") from wrong
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        path, _, reason = line.rstrip("\r").partition("\t")
        if path.strip() and not path.startswith("#"):
            yield Line(number, path.strip(), reason.strip() or f"listed in {file}")


def _spellings(path: str, root: str) -> set[str]:
    """What messages may call the image of this line: paths below `root` begin as that does."""
    top = Path(root).expanduser()
    found = {path, str(Path(path)), str(top / path)}
    if top.is_file():  # the paths in a table start beside it
        found.add(str(top.parent / path))
    if Path(path).is_absolute():
        found.add(str(top / os.path.relpath(path, top)))
    return found


def _complete(images: Images, split: str, file: Path, classes: tuple[str, ...]) -> None:
    counts = np.bincount(images.labels, minlength=len(classes))
    if not counts.all():
        empty = classes[int(counts.argmin())]
        raise DataError(f"{file} leaves no image of class '{empty}' in {split}")


def _nearest(path: str, source: Source, root: str) -> str | None:
    """The hint with the nearest name in a folder of that name, or of such a file elsewhere."""
    top = Path(root).expanduser()
    folder, file = os.path.split(path)
    ends = (f"/{file}", f"{os.path.basename(folder)}/")  # noqa: PTH119 - there can be a million
    names = (
        images.name(index)
        for images in source.splits.values()
        for index in range(len(images.labels))
    )
    like = (
        name
        for name in names
        if name.endswith(ends[0]) or name[: name.rfind("/") + 1].endswith(ends[1])
    )
    return did_you_mean(path, (_below(top, name) for name in islice(like, NEAR)))


def _below(top: Path, name: str) -> str:
    return str(Path(name).relative_to(top)) if Path(name).is_relative_to(top) else name
