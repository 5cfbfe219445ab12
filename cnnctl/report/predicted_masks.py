"""Masks of images, as people and as other programs read about them."""

from __future__ import annotations

import csv
import io
from pathlib import PurePath
from typing import Any

from rich.cells import cell_len
from rich.console import Console

from cnnctl.report.format import count, percent
from cnnctl.report.predicted import failed, plain, several, tail
from cnnctl.report.table import GAP, columns, pairs

COLUMNS = ("file", "mask", "class", "pixels", "share")  # of the CSV
SHARE = 0.3  # of the width: what the name of a file gets at most
LEAST = 20  # columns for the classes, however narrow the terminal
PLACES = ("mask", "overlay", "folder")  # paths to copy
Document = dict[str, Any]


def masks(console: Console, data: Document) -> None:
    """One image with a row for each class, several with a row each; what failed, on stderr."""
    rows = data["predictions"]
    if len(rows) == 1:
        _alone(console, rows[0])
    elif rows:
        _table(console, rows)
    for row in rows:
        if row["note"]:
            console.print(f"{plain(row['file'])}: {row['note']}", style="dim", soft_wrap=True)
    if rows:
        console.print()
        pairs(console, [(name, plain(value)) for name, value in _places(data)], PLACES)
    failed(console, data)


def masks_csv(console: Console, data: Document) -> None:
    """One row for each file and class, numbers unrounded; what failed, on stderr."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for one in data["predictions"]:
        for found in one["classes"]:
            rows.writerow(
                (one["file"], one["mask"], found["class"], found["pixels"], found["share"])
            )
    console.file.write(file.getvalue())
    failed(console, data)


def _alone(console: Console, row: Document) -> None:
    console.print(plain(row["file"]), soft_wrap=True)
    cells = [
        [plain(one["class"]), count(one["pixels"]), percent(one["share"])] for one in row["classes"]
    ]
    columns(console, ("class", "pixels", "share"), cells, text=("class",), gives=("class",))


def _table(console: Console, rows: list[Document]) -> None:
    """The classes of most pixels, as many as the line has room for."""
    most = max(len("file"), int(SHARE * console.width))
    cells = [
        [tail(plain(one), most) for one in (row["file"], PurePath(row["mask"]).name)]
        for row in rows
    ]
    head = ("file", "mask")
    room = console.width - sum(
        GAP + max(map(cell_len, column)) for column in zip(head, *cells, strict=True)
    )
    for cell, row in zip(cells, rows, strict=True):
        found = [(one["class"], one["share"]) for one in row["classes"]]
        cell.append(several(found, max(room, LEAST)))
    head = (*head, "classes")
    columns(console, head, cells, text=head, gives=("mask", "classes", "file"))


def _places(data: Document) -> list[tuple[str, str]]:
    """Where the files are: of one image, both; of several, their folder."""
    rows = data["predictions"]
    if len(rows) == 1:
        return [("mask", rows[0]["mask"]), ("overlay", rows[0]["overlay"])]
    return [("folder", data["folder"])]
