"""Which images a folder holds: root/<split>/<class>/**, or root/<class>/** for one split.

The listing of a large folder is kept in the cache folder. A file that is added, removed or
renamed changes the time of its directory, so as long as every directory has the same time
the listing holds, and neither a file nor a directory is opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnctl.data.files import Files, Names
from cnnctl.data.places import cache_dir, write
from cnnctl.data.source import Part
from cnnctl.errors import DataError

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "val"
)
LAYOUT = "it must hold train/<class>/<image>, or <class>/<image>"
MANY = 50_000  # images; fewer are listed in less time than it takes to notice
VERSION = 1  # of the stored form
SETTLED = 2 * 10**9  # ns; the coarsest file systems tell times two seconds apart


class Directory(NamedTuple):
    """A directory that was listed: its path below the root, and when it last changed."""

    path: str
    mtime_ns: int


class Listing(NamedTuple):
    """One split: its files by path below the root, labels int64 (N,), class names."""

    names: Names
    labels: np.ndarray
    classes: tuple[str, ...]


def parts(root: Path) -> dict[str, Part]:
    """The splits train, val and test, as far as they are there; class numbers by sorted names.

    Hidden files and what has no ending of an image are left out. Raises DataError, naming the
    folder, if there are no classes, or two folders for one split, or it cannot be read.
    """
    file = cache_dir() / "listings" / f"{_key(root)}.npz"
    found = _known(file, root)
    if found is None:
        began, directories = time.time_ns(), list[Directory]()
        try:
            found = {
                split: _split(root, folder, directories) for split, folder in places(root).items()
            }
        except OSError as wrong:
            raise DataError(f"cannot list {wrong.filename}: {wrong.strerror}") from wrong
        settled = max(seen.mtime_ns for seen in directories) < began - SETTLED
        if settled and sum(len(split.names) for split in found.values()) >= MANY:
            with contextlib.suppress(OSError):  # next time it is listed again
                write(file, _stored(found, directories))
    return {
        name: Part(Files(root, split.names), split.labels, split.classes)
        for name, split in found.items()
    }


def _folders(path: Path) -> list[str]:
    """The names of the folders in a folder, sorted; without hidden ones."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())


def places(root: Path) -> dict[str, str]:
    """Which folder below the root each split is in; the root itself is train if none is."""
    names = _folders(root)
    found: dict[str, str] = {}
    for name in names:
        split = SPLITS.get(name.lower())
        if split in found:
            raise DataError(f"{root} has two folders for {split}: {found[split]} and {name}")
        if split is not None:
            found[split] = name
    if "train" not in found:
        inner = next((name for name in names if (root / name / "train").is_dir()), None)
        if found or inner:
            hint = f"did you mean data.root={root / inner}?" if inner else LAYOUT
            raise DataError(f"{root} has no folder 'train'", hint)
        if not names:
            raise DataError(f"{root} has neither a folder 'train' nor class folders", LAYOUT)
        return {"train": ""}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _split(root: Path, folder: str, directories: list[Directory]) -> Listing:
    directories += [_seen(root, path) for path in ("", folder)]
    classes = _folders(root / folder)
    if not classes:
        raise DataError(f"{root / folder} has no class folders", LAYOUT)
    names: list[Names] = []
    for name in classes:
        found = sorted(_images(root, str(Path(folder) / name), directories, ()))
        names.append(Names.from_list(found))
    labels = np.repeat(np.arange(len(classes)), [len(found) for found in names])
    return Listing(Names.joined(names), labels, tuple(classes))


def _seen(root: Path, path: str) -> Directory:
    return Directory(path, os.stat(root / path).st_mtime_ns)  # noqa: PTH116 - one name for both


def _images(
    root: Path, path: str, directories: list[Directory], above: tuple[str, ...]
) -> Iterator[str]:
    """Paths below the root of the images below `path`; links are followed, but not in circles."""
    real = os.path.realpath(root / path)
    if real in above:
        return
    directories.append(_seen(root, path))  # before it is read, so that no change is missed
    with os.scandir(root / path) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            if entry.is_dir():
                yield from _images(root, f"{path}/{name}", directories, (*above, real))
            elif name[name.rfind(".") :].lower() in SUFFIXES:
                yield f"{path}/{name}"


def _key(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:32]


def _stored(found: dict[str, Listing], directories: list[Directory]) -> bytes:
    """The file that `_known` reads."""
    arrays: dict[str, np.ndarray] = {"version": np.array(VERSION)}

    def put(name: str, names: Names) -> None:
        arrays[f"{name}.buffer"], arrays[f"{name}.offsets"] = names.buffer, names.offsets

    put("directories", Names.from_list([seen.path for seen in directories]))
    arrays["times"] = np.array([seen.mtime_ns for seen in directories], np.int64)
    put("splits", Names.from_list(list(found)))
    for name, split in found.items():
        put(name, split.names)
        put(f"{name}.classes", Names.from_list(split.classes))
        arrays[f"{name}.labels"] = split.labels
    file = io.BytesIO()
    np.savez(file, **arrays)  # pyright: ignore[reportArgumentType] - its stub confuses the names
    return file.getvalue()


def _known(file: Path, root: Path) -> dict[str, Listing] | None:
    """The listing that was kept, if it is whole, of this version, and still holds."""
    try:
        with file.open("rb") as opened, np.load(opened) as arrays:
            if arrays["version"] != VERSION:
                return None

            def get(name: str) -> Names:
                return Names(arrays[f"{name}.buffer"], arrays[f"{name}.offsets"])

            seen = zip(get("directories"), arrays["times"].tolist(), strict=True)
            if any(_seen(root, path).mtime_ns != then for path, then in seen):
                return None
            return {
                name: Listing(get(name), arrays[f"{name}.labels"], tuple(get(f"{name}.classes")))
                for name in get("splits")
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
