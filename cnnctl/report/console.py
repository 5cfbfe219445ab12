"""Results as people read them on a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from cnnctl.report.audit import audited, compared
from cnnctl.report.bench import benched, zoo
from cnnctl.report.caches import cached, caches, cleared
from cnnctl.report.claims import claims
from cnnctl.report.data import checked, sheet
from cnnctl.report.evaluated import ensemble, evaluated, paired
from cnnctl.report.exported import exported
from cnnctl.report.format import count, percent, shape
from cnnctl.report.predicted import csv, predicted
from cnnctl.report.result import Result
from cnnctl.report.run import plan, trained
from cnnctl.report.table import columns
from cnnctl.report.working import worked

PIPE_WIDTH = 120  # columns where there is no terminal to measure
LISTING = {  # the columns of `cnnctl list` that are text, that are shortened, that are left out
    "models": (("name", "family", "paper", "input"), ("paper",), ("classes", "family")),
    "data": (("name", "size", "source", "licence"), ("source", "licence"), ()),
    "runs": (("run", "model", "data", "state"), ("run",), ("data", "model", "epochs", "seed")),
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


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name == "input":
        return shape(value)
    if name == "paper":  # the year has a column of its own, and `show` has the title
        return re.split(r",? \d{4}, ", value)[0]
    if name in ("params", "macs"):
        return count(value)
    if name in ("val_top1", "test_top1"):
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
    "listing": listing, "keys": keys, "text": text,
    "worked": worked, "audited": audited, "compared": compared,
    "claims": claims, "exported": exported, "benched": benched, "zoo": zoo,
    "predicted": predicted, "predicted_csv": csv,
    "checked": checked, "sheet": sheet, "cached": cached, "caches": caches, "cleared": cleared,
}  # fmt: skip
