"""What is on images, as people and as other programs read it."""

from __future__ import annotations

import csv as writer
import io
import sys
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console

from cnnctl.report.format import percent
from cnnctl.report.table import GAP, columns

COLUMNS = ("file", "rank", "class", "probability")  # of the CSV
MORE = " …"  # behind the classes that a line has room for
SHARE = 0.4  # of the width: what the name of a file gets at most
Document = dict[str, Any]


def predicted(console: Console, data: Document) -> None:
    """One image with a row for each class, several with a row each; what failed, on stderr."""
    rows = data["predictions"]
    if len(rows) == 1:
        _alone(console, rows[0])
    elif rows:
        _several(console, rows)
    for row in rows:
        if row["note"]:
            console.print(f"{plain(row['file'])}: {row['note']}", style="dim", soft_wrap=True)
    failed(console, data)


def csv(console: Console, data: Document) -> None:
    """One row for each file and class, numbers unrounded; what failed, on stderr."""
    file = io.StringIO()
    rows = writer.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for one in data["predictions"]:
        for rank, found in enumerate(one["top"], 1):
            rows.writerow((one["file"], rank, found["class"], found["probability"]))
    console.file.write(file.getvalue())
    failed(console, data)


def _alone(console: Console, row: Document) -> None:
    console.print(plain(row["file"]), soft_wrap=True)
    cells = [[plain(one["class"]), percent(one["probability"])] for one in row["top"]]
    columns(console, ("class", "probability"), cells, text=("class",), gives=("class",))


def _several(console: Console, rows: list[Document]) -> None:
    """The likeliest class, and as many of the others as the line has room for."""
    room = max(len("file"), int(SHARE * console.width))
    cells = [
        [tail(plain(row["file"]), room), plain(first["class"]), percent(first["probability"])]
        for row in rows
        for first in row["top"][:1]
    ]
    head = ["file", "class", "probability"]
    room = console.width - sum(
        GAP + max(map(cell_len, column)) for column in zip(head, *cells, strict=True)
    )
    others = [
        several([(one["class"], one["probability"]) for one in row["top"][1:]], room)
        for row in rows
    ]
    if any(others):
        head.append("then")
        cells = [[*row, other] for row, other in zip(cells, others, strict=True)]
    columns(console, head, cells, text=("file", "class", "then"), gives=("class", "file"))


def several(found: Sequence[tuple[str, float]], room: int) -> str:
    """Classes with their shares as `dog 1.20 % · fox 0.11 % …`: whole ones, in `room` columns."""
    line = ""
    for place, (name, share) in enumerate(found):
        more = f"{' · ' if line else ''}{plain(name)} {percent(share)}"
        last = place == len(found) - 1
        if cell_len(line + more) + (0 if last else len(MORE)) > room:
            return f"{line}{MORE}" if line else ""
        line += more
    return line


def failed(console: Console, data: Document) -> None:
    """A line for each on stderr, below the table if both are seen on one terminal."""
    console.file.flush()
    for row in data["failed"]:
        print(f"cnnctl: left out {plain(row['file'])}: {plain(row['reason'])}", file=sys.stderr)


def tail(name: str, room: int) -> str:
    """The end of a path, which tells it from the others."""
    cut = name
    while cell_len(cut) > room - (cut is not name):
        cut = cut[1:]
    return name if cut is name else f"…{cut}"


def plain(text: str) -> str:
    """On one line, without signs that a terminal would obey."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )
