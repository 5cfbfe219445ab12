"""Your own images with a mask each: root/images and root/masks, matched by name.

Or such two folders for each split. Nothing is decoded here, unless it is to tell what is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnctl.config.images import Data
from cnnctl.config.legend import Legend
from cnnctl.config.masks import FolderMasks
from cnnctl.data import legends
from cnnctl.data.files import Chained, Files, Names
from cnnctl.data.listing import SPLITS, SUFFIXES
from cnnctl.data.mask_files import GIF, KEEPING, LOSSY, MaskImages
from cnnctl.data.pairs import Pairs
from cnnctl.data.source import Blobs, Encoded, Images, Source
from cnnctl.data.split import divide
from cnnctl.errors import DataError

IMAGES, MASKS = "images", "masks"
LAYOUT = "it must hold images/ and masks/, or train/images/, train/masks/ and so on"
ORDER = ("train", "val", "test")
ENDINGS = frozenset(ending for endings in KEEPING.values() for ending in endings)


class Part(NamedTuple):
    """One split as it was found: images, the mask of each, and what cannot be used, and why."""

    images: Blobs
    masks: Blobs
    faults: dict[str, str]


def load(data: Data) -> Source:
    """List, match and split data.root; raises DataError, naming what is wrong with it.

    With data.on_error=skip what has no mask, no image or two of them is left out.
    """
    assert isinstance(data, FolderMasks)
    root = Path(data.root).expanduser()
    parts = {split: _part(root, place) for split, place in places(root).items()}
    faults = {name: reason for part in parts.values() for name, reason in part.faults.items()}
    if faults and data.on_error == "fail":
        (name, first), *others = faults.items()
        more = f"; {len(others)} more cannot be used" if others else ""
        hint = "mend or remove it, or leave such files out with data.on_error=skip"
        raise DataError(f"{name} {first}{more}", hint)
    for split, part in parts.items():
        if not len(part.images):
            names = f"{IMAGES} and {MASKS} of {root / places(root)[split]}"
            raise DataError(f"{names} have no file of one name", _why(faults))
    legend = legends.of(data, root, parts["train"].masks)
    if data.folds is not None and "val" in parts:
        parts["train"] = _joined(parts["train"], parts.pop("val"))
    return _divided(parts, data, legend, faults)


def _divided(
    parts: dict[str, Part], data: FolderMasks, legend: Legend, faults: dict[str, str]
) -> Source:  # fmt: skip
    """The splits that were found, and what is missing drawn from train."""
    others = [name for name in parts if name != "train"]
    cut = divide(np.zeros(len(parts["train"].images), np.int64), data, (), others)
    splits: dict[str, Images] = {}
    for name in ORDER:
        if name not in cut and name not in parts:
            continue
        images, masks, _ = parts["train" if name in cut else name]
        chosen = cut[name] if name in cut else np.arange(len(images))
        labels = np.zeros(len(chosen), np.int64)
        pixels = Encoded(images, labels, data.channels, indices=chosen)
        splits[name] = Pairs(pixels, MaskImages(masks, legend, chosen))
    drawn = tuple(name for name in ORDER if name in cut and name != "train")
    return Source(legend.classes, splits, skipped=faults, drawn=drawn)


def places(root: Path) -> dict[str, str]:
    """Which folder below the root each split is in; the root itself is train if none is.

    Raises DataError if there is none, two for one split, or one that lacks images or masks.
    """
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise DataError(f"data.root {what}: {root}", f"a folder, {LAYOUT}")
    found: dict[str, str] = {}
    for name in _folders(root):
        split = SPLITS.get(name.lower())
        if split in found:
            raise DataError(f"{root} has two folders for {split}: {found[split]} and {name}")
        if split is not None:
            found[split] = name
    if not found:
        found = {"train": ""}
    elif both := [name for name in (IMAGES, MASKS) if (root / name).is_dir()]:
        text = f"{root} has {both[0]} and {next(iter(found.values()))} side by side"
        raise DataError(text, LAYOUT)
    elif "train" not in found:
        raise DataError(f"{root} has no folder 'train'", LAYOUT)
    for place in found.values():
        _complete(root / place)
    return {split: found[split] for split in ORDER if split in found}


def _complete(folder: Path) -> None:
    for name in (IMAGES, MASKS):
        if not (folder / name).is_dir():
            raise DataError(f"{folder} has no folder '{name}'", LAYOUT)
        if split := next((one for one in _folders(folder / name) if one.lower() in SPLITS), None):
            text = f"{folder / name} has a folder for a split: {split}"
            raise DataError(text, f"turn it round: {split}/{IMAGES} and {split}/{MASKS}")


def _part(root: Path, place: str) -> Part:
    """What is in the folders images and masks of a split, by the name that both must have."""
    folder = root / place
    try:
        images, masks = (_named(folder / name) for name in (IMAGES, MASKS))
    except OSError as wrong:
        raise DataError(f"cannot list {wrong.filename}: {wrong.strerror}") from wrong
    faults = dict(_faults(folder, images, masks))
    sound = [stem for stem in sorted(images) if _is_sound(images[stem], masks.get(stem, []))]
    return Part(
        Files(folder / IMAGES, Names.from_list([images[stem][0] for stem in sound])),
        Files(folder / MASKS, Names.from_list([masks[stem][0] for stem in sound])),
        faults,
    )


def _is_sound(images: list[str], masks: list[str]) -> bool:
    return len(images) == len(masks) == 1 and _keeps(masks[0])


def _faults(
    folder: Path, images: dict[str, list[str]], masks: dict[str, list[str]]
) -> Iterator[tuple[str, str]]:
    """Files that cannot be used, and why."""
    for stem in sorted({*images, *masks}):
        own, theirs = images.get(stem, []), masks.get(stem, [])
        if len(own) > 1:
            yield str(folder / IMAGES / own[1]), f"has the name of {own[0]}: they need two masks"
        elif len(theirs) > 1:
            first = str(folder / IMAGES / own[0]) if own else str(folder / MASKS / stem)
            yield first, f"has two masks: {theirs[0]} and {theirs[1]}"
        elif not theirs:
            yield str(folder / IMAGES / own[0]), f"has no mask: there is no {MASKS}/{stem}.png"
        elif not own:
            yield str(folder / MASKS / theirs[0]), f"has no image: there is no {IMAGES}/{stem}.*"
        elif not _keeps(theirs[0]):
            ending = Path(theirs[0]).suffix
            why = GIF if ending.lower() == ".gif" else LOSSY
            yield str(folder / MASKS / theirs[0]), f"cannot be a mask, being {ending}: {why}"


def _keeps(name: str) -> bool:
    return Path(name).suffix.lower() in ENDINGS


def _named(folder: Path) -> dict[str, list[str]]:
    """The images in a folder and in those below it, by their paths without the endings."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(_below(folder, "", ())):
        found[path[: path.rfind(".")]].append(path)
    return found


def _below(folder: Path, path: str, above: tuple[Path, ...]) -> Iterator[str]:
    """Paths below `folder`; without hidden files, and of links that lead in circles one turn."""
    place = folder / path
    real = place.resolve()
    if real in above:
        return
    for entry in place.iterdir():
        inner = f"{path}/{entry.name}".lstrip("/")
        if entry.name[0] == ".":
            continue
        if entry.is_dir():
            yield from _below(folder, inner, (*above, real))
        elif entry.suffix.lower() in SUFFIXES:
            yield inner


def _folders(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.name[0] != "." and one.is_dir())


def _joined(first: Part, second: Part) -> Part:
    """Both, one after the other."""
    images, masks = Chained(first.images, second.images), Chained(first.masks, second.masks)
    return Part(images, masks, {**first.faults, **second.faults})


def _why(faults: dict[str, str]) -> str | None:
    return next((f"{name} {reason}" for name, reason in faults.items()), None)
