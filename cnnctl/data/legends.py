"""The legend of a folder of masks: as configured, or as its file classes.txt says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnctl.config import legend
from cnnctl.config.legend import COLOUR, Legend, Value
from cnnctl.config.masks import IGNORE, FolderMasks
from cnnctl.data.mask_files import values
from cnnctl.data.source import Blobs
from cnnctl.errors import DataError

FILE = "classes.txt"
IGNORED = "ignore"  # the word that begins a line about pixels that count nowhere
LOOKED = 8  # masks that are looked at to tell what may be meant
MANY = 64  # values; no legend is guessed of more


class Lines(NamedTuple):
    """What a file says."""

    classes: list[str]
    values: list[Value]
    ignored: list[Value]


def of(data: FolderMasks, root: Path, masks: Blobs) -> Legend:
    """The legend of data.classes, or else of root/classes.txt.

    Raises DataError if that has faults, and if there is neither: then some of `masks` are looked
    at, and their values told.
    """
    if data.classes is not None:
        return legend.legend(data.classes, data.values, legend.listed(data.ignore))
    file = root / FILE
    if not file.is_file():
        raise _missing(file, masks)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as wrong:
        why = wrong.strerror if isinstance(wrong, OSError) else "it is not text in UTF-8"
        raise DataError(f"cannot read {file}: {why}") from wrong
    names, given, ignored = lines(text)
    if given and len(given) < len(names):
        text = f"{file}: {len(given)} of {len(names)} classes have a value"
        raise DataError(text, "give all of them one, or none: then they are 0, 1, 2, …")
    for fault in legend.faults(names, given or None, ignored):
        raise DataError(f"{file}: {fault.key} {fault.text}", fault.hint)
    return legend.legend(names, given or None, ignored, str(file))


def lines(text: str) -> Lines:
    """Names, their values, and values to ignore, of a text with a class on each line.

    `name`, `name 7` or `name #ff0000`; `ignore 255` is no class. What begins with # is a comment.
    """
    found = Lines([], [], [])
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] == "#":
            continue
        name, _, last = line.rpartition(" ")
        value = _value(last)
        if value is not None and name.strip() == IGNORED:
            found.ignored.append(value)
        elif value is not None and name:
            found.classes.append(name.strip())
            found.values.append(value)
        else:
            found.classes.append(line)
    return found


def _value(word: str) -> Value | None:
    if COLOUR.fullmatch(word):
        return word
    return int(word) if word.isascii() and word.isdigit() else None


def _missing(file: Path, masks: Blobs) -> DataError:
    """What the values may mean is nobody's to guess; but which there are can be told."""
    text = f"what the masks mean is not said: data.classes is null, and there is no {file}"
    counts, coloured, looked = _looked(masks)
    if not counts:
        return DataError(text, "give the names of the classes: data.classes=[background,…]")
    found = sorted(counts)
    if len(found) > MANY:
        return DataError(f"{text}; {looked} masks have {len(found)} values: are these masks?")
    seen = Legend((), tuple(found), (), coloured)
    shares = (f"{seen.show([one])} ({counts[one] / counts.total():.1%})" for one in found)
    told = f"{text}; {looked} mask{'s' * (looked > 1)} hold the values {', '.join(shares)}"
    return DataError(told, _proposal(found, seen))


def _proposal(found: list[int], seen: Legend) -> str:
    """What to type for these values, with names to be replaced."""
    ignored = [IGNORE] * (not seen.coloured and len(found) > 2 and found[-1] == IGNORE)  # noqa: PLR2004 - 0 and 255 are two classes
    kept = found[: len(found) - len(ignored)]
    names = ["background", *(f"class{number}" for number in range(1, len(kept)))]
    words = [f"data.classes=[{','.join(names)}]"]
    if kept != list(range(len(kept))) or seen.coloured:
        words.append(f"data.values=[{seen.show(kept).replace(' ', '')}]")
    return " ".join([*words, *(f"data.ignore={one}" for one in ignored)])


def _looked(masks: Blobs) -> tuple[Counter[int], bool, int]:
    """How often each value stands in a few masks, whether it is a colour, and in how many masks."""
    places = np.unique(np.linspace(0, len(masks) - 1, LOOKED).astype(np.int64)).tolist()
    for coloured in (False, True):
        counts: Counter[int] = Counter()
        looked = 0
        for place in places:
            try:
                found = values(masks[place], coloured, masks.name(place))
            except DataError:
                continue
            numbers, often = np.unique(found, return_counts=True)
            counts.update(dict(zip(numbers.tolist(), often.tolist(), strict=True)))
            looked += 1
        if looked:
            return counts, coloured, looked
    return Counter(), False, 0
