"""WebDataset shards: tar archives in which neighbours of one name are one sample.

https://github.com/webdataset/webdataset: `dir/0001.jpg` and `dir/0001.cls` are the sample
`dir/0001`; what follows the first dot of the file's name says what the member is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cnnctl.data.archives import Member, Members, assemble, tar_members
from cnnctl.data.inside import unreadable
from cnnctl.data.listing import SPLITS, SUFFIXES
from cnnctl.data.source import Part
from cnnctl.errors import DataError

BRACES = re.compile(r"\{([^{}]*)\}")
WHOLE = re.compile(r"\.(tar\.(gz|xz|bz2|zst)|t(gz|xz|bz2|zst))$", re.IGNORECASE)
LABEL_KEYS = ("label", "class")


def parts(root: str) -> dict[str, Part]:
    """The splits of the shards in the folder `root`, or that a pattern like a-{000..127}.tar names.

    A shard's split is a word of its name (imagenet-val-000.tar), or the folder it is in. The
    line of a file classes.txt beside them names each number of a class, counted from 0. Raises
    DataError, naming shard and sample, for a sample without one image or without a label.
    """
    place, files = _files(Path(root).expanduser())
    names = _class_names(place / "classes.txt")
    rows = (
        (split, _named(label, names, place), image)
        for number, (split, file) in enumerate(in_splits(files, place))
        for image, label in _samples(file, number)
    )
    return assemble(root, rows, lambda images: Members(files, images), names)


def expand(pattern: str) -> list[str]:
    """All names that a pattern with {000..127} or {a,b} stands for, as a shell writes them."""
    found = BRACES.search(pattern)
    if not found:
        return [pattern]
    span = re.fullmatch(r"(\d+)\.\.(\d+)", found[1])
    if span:
        first, last = int(span[1]), int(span[2])
        width = len(span[1]) if span[1].startswith("0") else 1
        words = [f"{number:0{width}}" for number in range(first, last + 1)]
    else:
        words = found[1].split(",")
    if len(words) < 1 + (not span):
        raise DataError(f"cannot expand {found[0]} in {pattern}", "write {000..127} or {a,b}")
    rest = expand(pattern[found.end() :])
    return [f"{pattern[: found.start()]}{word}{end}" for word in words for end in rest]


def _files(root: Path) -> tuple[Path, list[Path]]:
    """The shards, and the folder that holds them all."""
    if root.is_dir():
        files = sorted(root.rglob("[!.]*.tar"))
        files += [path for path in root.rglob("[!.]*.t*") if WHOLE.search(path.name)]  # refused
        if not files:
            raise DataError(f"{root} has no shards", "they end in .tar")
        return root, files
    files = [Path(name) for name in expand(str(root))]
    missing = [path for path in files if not path.is_file()]
    if missing:
        more = f", and {len(missing) - 1} more" if missing[1:] else ""
        raise DataError(f"no such shard: {missing[0]}{more}")
    return Path(os.path.commonpath([path.parent for path in files])), files


def in_splits(files: Sequence[Path], place: Path) -> Iterator[tuple[str, Path]]:
    """The split of each file below the folder `place`; train if the names say nothing."""
    found = [(_split_of(file.relative_to(place)), file) for file in files]
    known = any(split for split, _ in found)
    for split, file in found:
        if known and not split:
            hint = f"name it like train-000{file.suffix}, or put it into a folder train"
            raise DataError(f"{file} belongs to no split, as others do", hint)
        yield split or "train", file


def _split_of(path: Path) -> str | None:
    """train, val or test, if a word of the file's name says so, or of a folder's, inmost first."""
    for step in (path.stem, *reversed(path.parent.parts)):
        for word in re.split(r"[^a-z]+", step.lower()):
            if word in SPLITS:
                return SPLITS[word]
    return None


def _samples(file: Path, number: int) -> Iterator[tuple[Member, str]]:
    """The image and the label of each sample."""
    groups: dict[str, dict[str, Member]] = {}
    for member in tar_members(file, number):
        folder, _, name = member.name.rpartition("/")
        key, dot, ending = name.partition(".")
        if key and dot:
            groups.setdefault(f"{folder}/{key}".lstrip("./"), {})[ending.lower()] = member
    try:
        with file.open("rb") as opened:
            for key, group in groups.items():
                where = f"{file}: sample '{key}'"
                images = [member for end, member in group.items() if f".{end}" in SUFFIXES]
                if len(images) != 1:
                    raise DataError(f"{where} has {len(images) or 'no'} images, not one")
                yield images[0], _label(group, opened.fileno(), where)
    except OSError as wrong:
        raise unreadable(file, wrong) from wrong


def _label(group: dict[str, Member], number: int, where: str) -> str:
    """The text of .cls, or what .json calls the label."""
    kind = next((kind for kind in ("cls", "json") if kind in group), None)
    if kind is None:
        raise DataError(f"{where} has no label", "add a .cls, or a .json with 'label'")
    try:
        text = os.pread(number, group[kind].size, group[kind].offset).decode().strip()
        label = text if kind == "cls" else _from_json(json.loads(text))
    except ValueError as wrong:
        raise DataError(f"{where} has a damaged .{kind}: {wrong}") from wrong
    if not label:
        raise DataError(f"{where} has no label in its .{kind}", "a number or a text is wanted")
    return label


def _from_json(document: Any) -> str:
    given = document if isinstance(document, dict) else {}
    found = next((given[key] for key in LABEL_KEYS if key in given), None)
    return str(found).strip() if isinstance(found, int | str) else ""


def _class_names(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as wrong:
        raise unreadable(file, wrong) from wrong
    return [line.strip() for line in lines if line.strip()]


def _named(label: str, names: Sequence[str], place: Path) -> str:
    """The name of a class; a label that is a name already stays."""
    if not names or not label.isdecimal():
        return label
    if int(label) >= len(names):
        text = f"{place} has class {label}, but classes.txt names 0 to {len(names) - 1}"
        raise DataError(text, "its first line is class 0")
    return names[int(label)]
