"""What is wrong with the images and masks of a data set, as one document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, cast

import numpy as np
from torch import Tensor

from cnnctl.config.masks import Masks
from cnnctl.data import check, duplicates, survey, survey_masks
from cnnctl.data.check import FEW, Document, Rows
from cnnctl.data.pair_reading import resized
from cnnctl.data.pairs import Held, Pairs
from cnnctl.data.source import Source
from cnnctl.data.survey import Survey
from cnnctl.data.survey_masks import MaskSurvey

STOPS = ("broken", "leaks", "conflicts")  # training stops, or is misled
EXAMPLES = 6  # images of each class that are named
Tell = Callable[[str, int, int], None]


def masks(source: Source, data: Masks, tell: Tell) -> Document:
    """Read every image and mask, count the pixels of each class, list what is wrong by kind.

    The document is as that of `check.check`; instead of images, `pixels` of each class are
    counted, and `holding` counts the images that have any.
    """
    images = {name: _images(cast("Pairs", split), data, tell, name)
              for name, split in source.splits.items()}  # fmt: skip
    found = {
        name: survey_masks.survey(
            cast("Pairs", split), len(source.classes),
            lambda *done, name=name: tell(f"checking masks of {name}", *done),
        )
        for name, split in source.splits.items()
    }  # fmt: skip
    whole, joined = _rows(source, found), survey.joined(list(images.values()))
    findings, told = check.of_images(whole, joined)
    findings["broken"] = list(_broken(whole, joined, found, source))
    unusable = {(one["split"], one["index"]) for one in findings["broken"]}
    findings["conflicts"] = [
        group for group in findings["conflicts"]
        if len({one["class"] for one in group["images"]
                if (one["split"], one["index"]) not in unusable}) > 1
    ]  # fmt: skip
    findings |= _of_masks(whole, found, source)
    return {
        "data": data.name, "root": getattr(data, "root", None), "classes": list(source.classes),
        "splits": {name: _split(one, source) for name, one in found.items()},
        "drawn": list(source.drawn), "left_out": {}, "examples": _examples(found["train"], source),
        "sizes": _sizes(joined, data), "formats": dict(joined.formats.most_common()),
        "modes": dict(joined.modes.most_common()),
        "channels": check.channels(images["train"], data) if images["train"].count else None,
        "near": {"told": told, "distance": duplicates.DISTANCE},
        "findings": findings, "wrong": [kind for kind in STOPS if findings[kind]],
    }  # fmt: skip


def _images(pairs: Pairs, data: Masks, tell: Tell, split: str) -> Survey:
    def seen(pixels: Tensor) -> Tensor:
        return resized(pixels, data.resize)

    images = pairs if isinstance(pairs, Held) else pairs.images
    return survey.survey(images, seen, lambda *done: tell(f"checking {split}", *done))


def _rows(source: Source, found: dict[str, MaskSurvey]) -> Rows:
    """All images; equal masks are one label, so that equal images of several masks are found.

    A label is named after its first mask.
    """
    keys = np.concatenate([one.keys for one in found.values()])
    names = [
        f"mask {PurePath(split.masks.name(index)).name}" if not isinstance(split, Held) else ""
        for split in cast("dict[str, Pairs]", source.splits).values()
        for index in range(len(split.labels))
    ]
    _, first, labels = np.unique(keys, return_index=True, return_inverse=True)
    return check.in_rows(source, labels, [names[row] for row in first.tolist()])


def _broken(
    whole: Rows, joined: Survey, found: dict[str, MaskSurvey], source: Source
) -> Iterator[Document]:
    """Images that cannot be read, pairs that do not fit, and files that have no other half."""
    rows, start = dict(joined.broken), 0
    for one in found.values():
        rows = {start + number: reason for number, reason in one.broken.items()} | rows
        start += len(one.keys)
    for name, reason in source.skipped.items():
        yield {"split": None, "index": None, "name": name, "class": "", "reason": reason}
    for row, reason in sorted(rows.items()):
        yield whole.image(row) | {"class": "", "reason": reason}


def _of_masks(whole: Rows, found: dict[str, MaskSurvey], source: Source) -> dict[str, list[Any]]:
    """Masks in which nothing counts, and classes that are hardly there to be learned."""
    pixels = np.concatenate([one.pixels for one in found.values()])
    every = MaskSurvey(pixels, np.zeros(len(pixels), np.uint64))
    holding = (found["train"].pixels[:, :-1] > 0).sum(0).tolist()
    named = list(zip(source.classes, holding, strict=True))
    few = min(FEW, len(found["train"].pixels))  # in every image is not rare, however few there are
    return {
        "blank": [whole.image(row) | {"class": ""} for row in every.blank],
        "absent": [{"class": name, "images": 0} for name, images in named if not images],
        "rare": [{"class": name, "images": images} for name, images in named if 0 < images < few],
    }


def _split(found: MaskSurvey, source: Source) -> Document:
    pixels, holding = found.pixels.sum(0).tolist(), (found.pixels > 0).sum(0).tolist()
    return {
        "images": len(found.keys), "broken": len(found.broken),
        "pixels": dict(zip(source.classes, pixels, strict=False)), "ignored": pixels[-1],
        "holding": dict(zip(source.classes, holding, strict=False)),
    }  # fmt: skip


def _examples(found: MaskSurvey, source: Source) -> dict[str, list[int]]:
    """Of each class the images of train that have most of it."""
    order = np.argsort(-found.pixels, axis=0, kind="stable")[:EXAMPLES]
    return {
        name: [row for row in order[:, number].tolist() if found.pixels[row, number]]
        for number, name in enumerate(source.classes)
    }


def _sizes(found: Survey, data: Masks) -> Document | None:
    """As those of images; `enlarged` counts images that are completed to a window by mirroring."""
    told = check.sizes(found, data.size)
    if told is not None and data.resize is not None:
        told["enlarged"] = told["images"] if data.resize < data.size else 0
    return told
