"""A check of a data set as one HTML file, with the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cnnctl import __version__
from cnnctl.data.pairs import Pairs
from cnnctl.data.source import Source
from cnnctl.errors import DataError
from cnnctl.report import data, mask_files, sheet
from cnnctl.report.format import count
from cnnctl.report.page import environment

GROUPS = 12  # of each kind of finding
IMAGES = 6  # of a group, and of a class on the contact sheet
SHEET = 600  # images on the contact sheet
TILE = 96  # pixels


def html(document: dict[str, Any], source: Source, name: str) -> str:
    """The page; its pictures are read again, and what cannot be read has none."""
    made = environment()
    channels = document["channels"]
    facts = [(fact, *told.partition(" · ")[::2]) for fact, told in data.facts(document)]
    return made.get_template("data.html").render(
        title=name, version=__version__, facts=facts,
        verdict=data.verdict(document), splits=list(document["splits"]),
        advice=data.advice(channels) if channels and channels["differ"] else (),
        classes=list(_classes(document)), sheet=list(_sheet(document, source)),
        counted="Pixels" if data.has_masks(document) else "Images",
        findings=list(_findings(document, source)),
        style=made.get_template("page.css").render() + made.get_template("data.css").render(),
    ) + "\n"  # fmt: skip


def _classes(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each class: its images, or pixels, in each split, and their shares of the most."""
    key = "pixels" if data.has_masks(document) else "classes"
    splits = [split[key] for split in document["splits"].values()]
    most = [max([1, *split.values()]) for split in splits]
    for name in document["classes"]:
        counts = [split[name] for split in splits]
        shares = [number / top for number, top in zip(counts, most, strict=True)]
        yield {"name": name, "cells": list(zip(map(count, counts), shares, strict=True))}


def _sheet(document: dict[str, Any], source: Source) -> Iterator[dict[str, Any]]:
    """The first images of each class in train; those with most of it, and their masks."""
    images = source.splits["train"]
    if isinstance(images, Pairs):
        for name, members in document["examples"].items():
            uris = (one for index in members for one in _pair(images, index))
            yield {"name": name, "pictures": [{"uri": uri} for uri in uris]}
        return
    each = max(1, min(IMAGES, SHEET // len(source.classes)))
    for label, name in list(enumerate(source.classes))[:SHEET]:
        members = (images.labels == label).nonzero()[0][: 2 * each].tolist()
        pictures = (_picture(source, {"split": "train", "index": index}) for index in members)
        yield {"name": name, "pictures": [one for one in pictures if one["uri"]][:each]}


def _findings(document: dict[str, Any], source: Source) -> Iterator[dict[str, Any]]:
    """Each kind of finding: its first groups of pictures, and how many there are."""
    for kind, (title, meaning) in data.kinds(document).items():
        rows = document["findings"][kind]
        if not rows:
            continue
        yield {
            "title": title, "meaning": meaning, "number": data.number(kind, rows),
            "wrong": kind in document["wrong"], "more": count(max(0, len(rows) - GROUPS)),
            "groups": [_group(kind, row, source) for row in rows[:GROUPS]],
        }  # fmt: skip


def _group(kind: str, row: dict[str, Any], source: Source) -> dict[str, Any]:
    """Pictures side by side, or words where the finding has none."""
    if kind in ("refused", "classes", "rare", "absent", "unlisted"):
        return {
            "words": " ".join(data.LINES.get(kind, data.of_image)(row, str)),
            "pictures": [],
            "more": "",
        }
    images = row.get("images", [row])
    pictures = [_picture(source, one) for one in images[:IMAGES]]
    more = f"and {count(len(images) - IMAGES)} more" if len(images) > IMAGES else ""
    reason = row.get("reason") or (f"is {row['format']}" if "format" in row else "")
    words = reason or data.CHANGED.get(row.get("kind", ""), "")
    return {"words": words, "pictures": pictures, "more": more}


def _pair(pairs: Pairs, index: int) -> tuple[str, str]:
    """An image, and its mask over it."""
    image, mask = (one.numpy() for one in pairs.pair(index))
    return sheet.uri(image, TILE), sheet.uri(mask_files.over(image, mask[0]), TILE)


def _picture(source: Source, image: dict[str, Any]) -> dict[str, Any]:
    try:
        found = None if image["split"] is None else source.splits[image["split"]][image["index"]]
    except DataError:
        found = None
    uri = "" if found is None else sheet.uri(found.numpy(), TILE)
    return {"class": "", "name": "", **image, "uri": uri}
