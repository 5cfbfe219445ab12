"""What a listing of a folder leaves out or stops at: unknown endings, classes that differ."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnctl import data as sets
from cnnctl.config.images import Data, Folder
from cnnctl.config.masks import FolderMasks
from cnnctl.data import listing
from cnnctl.data.source import Encoded, Images, Part, Source
from cnnctl.data.survey import header
from cnnctl.errors import DataError

HEAD = 1 << 16  # bytes that tell an image from another file


class Loaded(NamedTuple):
    """A source, and why training would not have it; then its splits are as they were found."""

    source: Source
    refused: str | None


def load(data: Data) -> Loaded:
    """The images of `data`, even if its splits do not agree, as far as they can be listed.

    Raises DataError if there is nothing to list.
    """
    if isinstance(data, (Folder, FolderMasks)):
        data = dataclasses.replace(data, on_error="skip", verify=False)
    try:
        return Loaded(sets.load(data), None)
    except DataError as wrong:
        root = Path(getattr(data, "root", "")).expanduser()
        if not isinstance(data, Folder) or data.quarantine is not None or not root.is_dir():
            raise
        source = _as_found(listing.parts(root), data.channels)
        if not any(source.sizes.values()):
            raise
        return Loaded(source, str(wrong))


def unlisted(root: Path, source: Source) -> dict[str, str]:
    """Images under the folder `root` that no split lists because of their ending: their formats."""
    listed = {
        images.name(index)
        for images in source.splits.values()
        for index in range(len(images.labels))
    }
    found: dict[str, str] = {}
    for path in _files(root):
        if Path(path).suffix.lower() not in listing.SUFFIXES and path not in listed:
            with open(path, "rb") as file:  # noqa: PTH123 - of a path that is text
                told = header(file.read(HEAD))
            if told is not None:
                found[path] = told.format
    return found


def lacking(root: Path) -> dict[str, list[str]]:
    """The classes of the folder `root` that not every split has images of: splits without any."""
    counts = {
        split: dict(
            zip(part.classes, np.bincount(part.labels, minlength=len(part.classes)), strict=True)
        )
        for split, part in listing.parts(root).items()
    }
    classes = sorted({name for split in counts.values() for name in split})
    without = {name: [split for split in counts if not counts[split].get(name)] for name in classes}
    return {name: splits for name, splits in without.items() if splits}


def _as_found(parts: dict[str, Part], channels: int) -> Source:
    """All classes of all parts, numbered by name."""
    classes = tuple(sorted({name for part in parts.values() for name in part.classes}))
    splits: dict[str, Images] = {}
    for split, part in parts.items():
        numbers = np.array([classes.index(name) for name in part.classes], np.int64)
        splits[split] = Encoded(part.blobs, numbers[part.labels], channels)
    return Source(classes, splits)


def _files(root: Path) -> Iterator[str]:
    """Every file below `root` that is not hidden, sorted."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (os.path.join(folder, name) for name in sorted(names) if name[0] != ".")  # noqa: PTH118 - a million files
