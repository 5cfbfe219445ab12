"""What is wrong with the images of a data set, as one document."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnctl.config.images import Data, Folder
from cnnctl.data import duplicates, strays, survey
from cnnctl.data.reading import Whole
from cnnctl.data.source import Images, Source
from cnnctl.data.survey import Survey

FEW = 10  # images of a class to train on; fewer are told
SHIFTED = 0.05  # of the mean, in intensities: more is told
STRETCHED = 1.15  # of the deviation: a larger factor is told
DIGITS = 4  # of mean and deviation
STOPS = ("refused", "broken", "classes", "leaks", "conflicts")  # training stops, or is misled
Tell = Callable[[str, int, int], None]  # what is done, images so far, images in all
Image = dict[str, Any]  # split, index in it, name, class
Document = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """All splits one after the other: the split of each image, its index in it, its label.

    `words` are the names of the labels.
    """

    source: Source
    words: Sequence[str]
    names: tuple[str, ...]
    split: np.ndarray
    index: np.ndarray
    labels: np.ndarray

    def image(self, row: int) -> Image:
        """One of them, for a document."""
        split, index = self.names[self.split[row]], int(self.index[row])
        name = self.source.splits[split].name(index)
        label = self.words[self.labels[row]]
        return {"split": split, "index": index, "name": name, "class": label}

    def images(self, rows: np.ndarray) -> list[Image]:
        """Several of them."""
        return [self.image(row) for row in rows.tolist()]


def check(loaded: strays.Loaded, data: Data, tell: Tell) -> Document:
    """Read every image once, and list what is wrong by kind in `findings`.

    `wrong` names the kinds that training stops at or is misled by. `near.told` is false where the
    images are too much alike for near duplicates to be found.
    """
    source = loaded.source
    surveys = {
        name: survey.survey(
            images, Whole(data.size), lambda *done, name=name: tell(f"checking {name}", *done)
        )
        for name, images in source.splits.items()
    }
    labels = np.concatenate([images.labels for images in source.splits.values()])
    whole, found = in_rows(source, labels, source.classes), survey.joined(list(surveys.values()))
    findings, told = of_images(whole, found)
    findings["refused"] = [{"reason": loaded.refused}] if loaded.refused else []
    findings |= _of_folder(data, source)
    findings["rare"] = list(_rare(source))
    return {
        "data": data.name, "root": getattr(data, "root", None), "classes": list(source.classes),
        "splits": {name: _split(one, surveys[name], source) for name, one in source.splits.items()},
        "drawn": list(source.drawn), "left_out": source.skipped,
        "sizes": sizes(found, data.size), "formats": dict(found.formats.most_common()),
        "modes": dict(found.modes.most_common()), "balance": _balance(source),
        "channels": channels(surveys["train"], data) if surveys["train"].count else None,
        "near": {"told": told, "distance": duplicates.DISTANCE},
        "findings": findings, "wrong": [kind for kind in STOPS if findings.get(kind)],
    }  # fmt: skip


def quarantine(document: Document) -> Iterator[tuple[str, str]]:
    """The images that training is better without, each once, with the reason.

    Broken images of every split; of train what is equal to an image before it, and what is
    equal or looks equal to an image of val or test.
    """
    findings, told = document["findings"], set[str]()
    rows = [(one["name"], f"broken: {one['reason']}") for one in findings["broken"]]
    for group in findings["leaks"]:
        other = next(one for one in group["images"] if one["split"] != "train")
        word = "looks like" if group["kind"] == "near" else "equal to"
        rows += [(name, f"{word} {other['name']} of {other['split']}") for name in _of_train(group)]
    for group in findings["duplicates"]:
        first, *others = _of_train(group) or [""]
        rows += [(name, f"equal to {first}") for name in others]
    for name, reason in rows:
        if name not in told:
            told.add(name)
            yield name, reason


def _of_train(group: Document) -> list[str]:
    return [one["name"] for one in group["images"] if one["split"] == "train"]


def in_rows(source: Source, labels: np.ndarray, words: Sequence[str]) -> Rows:
    """Those of all splits, with a label for each."""
    sizes = list(source.sizes.values())
    return Rows(
        source, words, tuple(source.splits), np.repeat(np.arange(len(sizes)), sizes),
        np.concatenate([np.arange(size) for size in sizes]), labels,
    )  # fmt: skip


def of_images(whole: Rows, found: Survey) -> tuple[dict[str, list[Any]], bool]:
    """What single images and groups of them have wrong; whether near duplicates can be told."""
    sound = np.flatnonzero(found.sound)
    exact = [sound[group] for group in duplicates.exact(found.pixels[sound])]
    copies = {int(rows[0]): rows for rows in exact}
    firsts = np.setdiff1d(sound, [row for rows in exact for row in rows[1:]])
    near, told = duplicates.near(found.thumbs[firsts])
    equal = [_group(whole, rows, _kind(found.files[rows])) for rows in exact]
    alike = [_alike(whole, firsts[rows], copies) for rows in near]
    return {
        "broken": [whole.image(row) | {"reason": why} for row, why in sorted(found.broken.items())],
        "misnamed": [
            whole.image(row) | {"format": kind} for row, kind in sorted(found.misnamed.items())
        ],
        "leaks": [one for one in [*equal, *alike] if _leaks(one)],
        "conflicts": [one for one in equal if len({image["class"] for image in one["images"]}) > 1],
        "duplicates": [one for one in equal if not _leaks(one)],
        "near": [one for one in alike if not _leaks(one)],
    }, told


def _alike(whole: Rows, rows: np.ndarray, copies: dict[int, np.ndarray]) -> Document:
    """Images that look equal; with exact copies of them where some are in another split."""
    all_rows = np.concatenate([copies.get(row, np.array([row])) for row in rows.tolist()])
    widest = _group(whole, np.sort(all_rows), "near")
    return widest if _leaks(widest) else _group(whole, rows, "near")


def _kind(files: np.ndarray) -> str:
    """Whether the files are equal, too."""
    return "bytes" if files[0] and (files == files[0]).all() else "pixels"


def _group(whole: Rows, rows: np.ndarray, kind: str) -> Document:
    return {"kind": kind, "images": whole.images(rows)}


def _leaks(group: Document) -> bool:
    return len({image["split"] for image in group["images"]}) > 1


def _of_folder(data: Data, source: Source) -> dict[str, list[Document]]:
    """What only a folder can have: files that are not listed, classes that differ."""
    root = Path(data.root).expanduser() if isinstance(data, Folder) else None
    first = next(images.name(0) for images in source.splits.values() if len(images.labels))
    if root is None or not root.is_dir() or not os.path.lexists(first):  # a folder of shards
        return {"unlisted": [], "classes": []}
    return {
        "unlisted": [
            {"name": name, "format": kind} for name, kind in strays.unlisted(root, source).items()
        ],
        "classes": [
            {"class": name, "lacking": splits} for name, splits in strays.lacking(root).items()
        ],
    }


def _counts(images: Images, source: Source) -> list[int]:
    return np.bincount(images.labels, minlength=len(source.classes)).tolist()


def _rare(source: Source) -> Iterator[Document]:
    for name, count in zip(source.classes, _counts(source.splits["train"], source), strict=True):
        if count < FEW:
            yield {"class": name, "images": count}


def _split(images: Images, found: Survey, source: Source) -> Document:
    counts = dict(zip(source.classes, _counts(images, source), strict=True))
    return {"images": len(images.labels), "broken": len(found.broken), "classes": counts}


def _balance(source: Source) -> Document:
    counts = _counts(source.splits["train"], source)
    rows = [{"class": name, "images": n} for name, n in zip(source.classes, counts, strict=True)]
    most, least = max(counts), min(counts)
    return {
        "largest": rows[counts.index(most)], "smallest": rows[counts.index(least)],
        "ratio": round(most / least, 2) if least else None, "few": FEW,
    }  # fmt: skip


def sizes(found: Survey, size: int) -> Document | None:
    """Smallest, median and largest height and width; how many images are made larger."""
    seen = found.sizes[found.sound]
    if not len(seen):
        return None
    figures = {"min": seen.min(0), "median": np.median(seen, 0), "max": seen.max(0)}
    named = {
        name: {"height": int(both[0]), "width": int(both[1])} for name, both in figures.items()
    }
    short = seen.min(1)
    return {
        **named, "alike": bool((seen == seen[0]).all()), "wanted": size,
        "enlarged": int((short < size).sum()), "images": len(seen),
    }  # fmt: skip


def channels(found: Survey, data: Data) -> Document:
    """Mean and deviation of what the net is trained on, beside those of the configuration."""
    mean, std = ([round(value, DIGITS) for value in values] for values in (found.mean, found.std))
    shifted = any(abs(a - b) > SHIFTED for a, b in zip(mean, data.mean, strict=True))
    ratios = [max(a, b) / max(min(a, b), 1e-6) for a, b in zip(std, data.std, strict=True)]
    return {
        "mean": mean, "std": std, "data_mean": list(data.mean), "data_std": list(data.std),
        "differ": shifted or max(ratios) > STRETCHED,
    }  # fmt: skip
