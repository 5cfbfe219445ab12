"""Results as people read them on a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from cnnctl.config import tasks
from cnnctl.report import evaluated_masks
from cnnctl.report.audit import audited, compared
from cnnctl.report.bench import benched, zoo
from cnnctl.report.caches import cached, caches, cleared
from cnnctl.report.claims import claims
from cnnctl.report.data import checked, sheet
from cnnctl.report.evaluated import ensemble, evaluated, paired
from cnnctl.report.exported import exported
from cnnctl.report.format import count, percent, shape
from cnnctl.report.predicted import csv, predicted
from cnnctl.report.predicted_masks import masks, masks_csv
from cnnctl.report.remade import (
    remade,
    remade_files,
    remade_files_csv,
    remade_paired,
    remade_together,
)
from cnnctl.report.result import Result
from cnnctl.report.run import plan, trained
from cnnctl.report.table import columns
from cnnctl.report.upsampled import upsampled
from cnnctl.report.working import worked

PIPE_WIDTH = 120  # columns where there is no terminal to measure
LISTING = {  # the columns of `cnnctl list` that are text, that are shortened, that are left out
    "models": (("name", "family", "paper", "input"), ("paper",), ("classes", "family")),
    "data": (("name", "size", "source", "licence"), ("source", "licence"), ()),
    "runs": (
        ("run", "model", "data", "state", "figure"),
        ("run",),
        ("data", "model", "epochs", "seed"),
    ),
}


def out(*, stderr: bool = False) -> Console:
    """A console; wide enough for every table where there is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False)


def render(result: Result) -> None:
    """Print a result on stdout."""
    VIEWS[result.view](out(), result.data)


def listing(console: Console, data: dict[str, Any]) -> None:
    """Rows of `cnnctl list`: the columns are the keys of the first row."""
    ((what, rows),) = data.items()
    if not rows:
        console.print("no runs yet" if what == "runs" else f"no such {what}")
        return
    if what == "runs":
        rows = [_judged(row) for row in rows]
    head = tuple(rows[0])
    text, gives, drops = LISTING.get(what, (head, head[-1:], ()))
    columns(
        console,
        head,
        [[_cell(*item) for item in row.items()] for row in rows],
        text=text,
        gives=gives,
        drops=drops,
    )


def keys(console: Console, data: dict[str, Any]) -> None:
    """Each key, its value, and the file or override that set it."""
    rows = [[row["key"], _value(row["value"]), row["source"]] for row in data["keys"]]
    head = ("key", "value", "source")
    columns(console, head, rows, text=head, gives=("value", "source"))


def several(console: Console, data: dict[str, Any]) -> None:
    """The runs of a multirun, one after the other."""
    for one in data["runs"]:
        console.rule(style="dim")
        (trained if "weights_sha256" in one else plan)(console, one)


def text(console: Console, data: dict[str, Any]) -> None:
    """A text as it is."""
    console.file.write(data["text"])


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    """A run with the figure that it is judged by, in place of those of every task."""
    names, splits = tasks.FIGURES.values(), ("val", "test")
    judged = next((name for name in names if row.get(f"val_{name}") is not None), None)
    every = {f"{split}_{name}" for split in splits for name in names}
    found = {key: value for key, value in row.items() if key not in every}
    return found | {"figure": judged} | {split: row.get(f"{split}_{judged}") for split in splits}


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name == "input":
        return shape(value)
    if name == "paper":  # the year has a column of its own, and `show` has the title
        return re.split(r",? \d{4}, ", value)[0]
    if name in ("params", "macs"):
        return count(value)
    if name in ("val", "test"):
        return percent(value)
    return str(value)


def _value(value: Any) -> str:
    """A value as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    return str(value)


VIEWS: dict[str, Callable[[Console, dict[str, Any]], None]] = {
    "plan": plan, "trained": trained, "several": several,
    "evaluated": evaluated, "paired": paired, "ensemble": ensemble,
    "masks_evaluated": evaluated_masks.evaluated, "masks_paired": evaluated_masks.paired,
    "masks_together": evaluated_masks.together,
    "listing": listing, "keys": keys, "text": text,
    "worked": worked, "audited": audited, "compared": compared,
    "claims": claims, "exported": exported, "benched": benched, "zoo": zoo,
    "predicted": predicted, "predicted_csv": csv, "masks": masks, "masks_csv": masks_csv,
    "checked": checked, "sheet": sheet, "cached": cached, "caches": caches, "cleared": cleared,
    "upsampled": upsampled, "remade": remade, "remade_paired": remade_paired,
    "remade_together": remade_together,
    "remade_files": remade_files, "remade_files_csv": remade_files_csv,
}  # fmt: skip
