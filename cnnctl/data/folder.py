"""A folder of images: root/train/<class>/*, and root/val and root/test if there are any.

Class numbers come from the sorted names under train, and every split must have the same
names, so that a number never means two classes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cnnctl.config.images import Data, Folder
from cnnctl.config.near import did_you_mean
from cnnctl.data import decode
from cnnctl.data.source import Encoded, Images, Source
from cnnctl.data.split import stratified
from cnnctl.errors import DataError

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
LAYOUT = "it must hold train/<class>/<image>"


class Files:
    """Image files under a folder."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> bytes:
        try:
            return self.paths[index].read_bytes()
        except OSError as wrong:
            text = f"cannot read image {self.paths[index]}: {wrong.strerror}"
            raise DataError(text) from wrong

    def name(self, index: int) -> str:
        """The path."""
        return str(self.paths[index])

    def stamp(self) -> str:
        """SHA-256 over path, size and time of the last change of every file."""
        digest = hashlib.sha256()
        for path in self.paths:
            found = path.stat()
            digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def load(data: Data) -> Source:
    """List, check and split the folder data.root; raises DataError, naming folder or file."""
    assert isinstance(data, Folder)
    root = Path(data.root).expanduser()
    if not root.is_dir():
        raise DataError(f"data.root is not a folder: {root}", LAYOUT)
    if not (root / "train").is_dir():
        raise DataError(f"{root} has no folder 'train'", LAYOUT)
    classes = _classes(root / "train")
    if len(classes) == 1:
        raise DataError(f"{root / 'train'} has one class only: {classes[0]}", "give two or more")
    names = ["train", *(name for name in ("val", "test") if (root / name).is_dir())]
    for name in names[1:]:  # before the images are read, which can take minutes
        _same_classes(root, name, classes)
    skipped: dict[str, str] = {}
    splits = {name: _list(root / name, classes, data, skipped) for name in names}
    if "val" not in splits:
        whole = splits["train"]
        share = {"val": data.val_fraction}
        parts = stratified(whole.labels, share, data.split_seed, classes)
        splits = {**splits, **{name: whole.pick(indices) for name, indices in parts.items()}}
    ordered: dict[str, Images] = {name: splits[name] for name in sorted(splits, key=_order)}
    return Source(classes, ordered, skipped)


def _order(split: str) -> int:
    return ("train", "val", "test").index(split)


def _classes(folder: Path) -> tuple[str, ...]:
    names = sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
    )
    if not names:
        raise DataError(f"{folder} has no class folders", LAYOUT)
    return tuple(names)


def _same_classes(root: Path, split: str, classes: tuple[str, ...]) -> None:
    given = _classes(root / split)
    for name in given:
        if name not in classes:
            text = f"{root / split} has class '{name}', which {root / 'train'} lacks"
            raise DataError(text, did_you_mean(name, classes))
    for name in classes:
        if name not in given:
            text = f"{root / 'train'} has class '{name}', which {root / split} lacks"
            raise DataError(text, did_you_mean(name, given) or "every split needs every class")


def _list(folder: Path, classes: tuple[str, ...], data: Folder, skipped: dict[str, str]) -> Encoded:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(
            path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES
        )
        if data.verify:
            broken = _broken(files, data.channels)
            if broken and data.on_error == "fail":
                hint = "mend or remove it, or leave such files out with data.on_error=skip"
                file, reason = next(iter(broken.items()))
                others = len(broken) - 1
                more = f", and {others} more in {folder / name}" if others else ""
                raise DataError(f"cannot read image {file}: {reason}{more}", hint)
            skipped.update({str(path): reason for path, reason in broken.items()})
            files = [path for path in files if path not in broken]
        if not files:
            raise DataError(
                f"{folder / name} has no images", f"known endings: {' '.join(sorted(SUFFIXES))}"
            )
        paths += files
        labels += [label] * len(files)
    return Encoded(Files(paths), np.array(labels, np.int64), data.channels)


def _broken(files: Sequence[Path], channels: int) -> dict[Path, str]:
    """The files that cannot be decoded, with the reason."""

    def reason(path: Path) -> str | None:
        try:
            decode.image(path.read_bytes(), channels, str(path))
        except DataError as wrong:
            return wrong.message.removeprefix(f"cannot read image {path}: ")
        return None

    with ThreadPoolExecutor() as pool:  # PIL decodes outside Python's lock
        reasons = dict(zip(files, pool.map(reason, files), strict=True))
    return {path: text for path, text in reasons.items() if text is not None}
