"""Results as tables for a terminal; a row is never wrapped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cnnctl.report.format import count, duration, megabytes, number, percent, shape
from cnnctl.report.result import Result

PIPE_WIDTH = 120  # columns where there is no terminal to measure


def out(*, stderr: bool = False) -> Console:
    """A console; wide enough for every table where there is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH, highlight=False)


def render(result: Result) -> None:
    """Print a result on stdout."""
    VIEWS[result.view](out(), result.data)


def pairs(rows: Iterable[tuple[str, str]], title: str | None = None) -> Table:
    """Names beside their values."""
    table = Table.grid(padding=(0, 2))
    table.title, table.title_justify = title, "left"
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for name, value in rows:
        table.add_row(name, value)
    return table


def columns(*names: str, left: int = 1) -> Table:
    """A table with a rule under its head; the first `left` columns are text, the rest numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(names):
        side = "left" if place < left else "right"
        table.add_column(name, justify=side, no_wrap=True, overflow="ellipsis")
    return table


def plan(console: Console, data: dict[str, Any]) -> None:
    """What is about to be done."""
    device = data["device"]
    sizes = " · ".join(f"{count(size)} {split}" for split, size in data["sizes"].items())
    warmup = f", {count(data['warmup_steps'])} steps warm-up" if data["warmup_steps"] else ""
    rows = [
        ("net", f"{data['model']} · {count(data['params'])} parameters · {count(data['macs'])} multiply-adds an image"),
        ("data", f"{data['data']} · {shape(data['shape'])} · {len(data['classes'])} classes · {sizes}"),
        ("steps", f"{count(data['steps'])} = {data['epochs']} epochs of {count(data['steps_per_epoch'])} · global batch {data['global_batch']} · augment {data['augment']}"),
        ("learning", f"{data['optimizer']} · learning rate {number(data['lr'])} · {data['schedule']}{warmup}"),
        ("device", f"{device['devices']} {device['accelerator']} · {device['name']} · {device['precision']}"),
        ("seed", str(data["seed"])),
    ]
    if data.get("run"):
        rows.append(("run", data["run"]))
    console.print(pairs(rows))
    for file, reason in data["skipped"].items():
        console.print(f"left out: {reason}" if file in reason else f"left out: {file}: {reason}", style="yellow", markup=False)


def trained(console: Console, data: dict[str, Any]) -> None:
    """The figures of a run and what to do next."""
    many = data["val"]["top5"] is not None
    head = ("top-1", "top-1 error", *(("top-5 error",) if many else ()), "loss")
    table = columns(f"epoch {data['best']['epoch']} of {data['epochs']}", *head)
    for split in ("val", "test"):
        if data[split]:
            table.add_row(split, *_errors(data[split], many=many))
    console.print(table)
    console.print(pairs([
        ("time", f"{duration(data['seconds'])} · {count(round(data['images_per_second']))} images/s · peak memory {megabytes(data['peak_memory_bytes'])}"),
        ("weights", f"sha256 {data['weights_sha256'][:16]}…"),
        ("run", data["run"]),
    ]))  # fmt: skip
    console.print("\nNext:")
    console.print(f"  cnnctl evaluate {data['run']}", soft_wrap=True)
    console.print(f"  cnnctl train --config {data['run']}/config.yaml", soft_wrap=True)


def evaluated(console: Console, data: dict[str, Any]) -> None:
    """The figures of an evaluation, and one row per class."""
    metrics = data["metrics"]
    many = metrics["top5"] is not None
    table = columns("split", "images", "top-1", "top-1 error", *(("top-5 error",) if many else ()), "loss")
    table.add_row(data["split"], count(data["n"]), *_errors(metrics, many=many))
    console.print(table)
    classes = columns("class", "images", "recall", "precision", "F1")
    for row in data["per_class"]:
        figures = (percent(row[name]) for name in ("recall", "precision", "f1"))
        classes.add_row(row["class"], count(row["n"]), *figures)
    console.print(classes)
    console.print(pairs([("run", data["run"]), ("checkpoint", data["checkpoint"])]))


def listing(console: Console, data: dict[str, Any]) -> None:
    """Rows of `cnnctl list`: the columns are the keys of the first row."""
    (rows,) = data.values()
    if not rows:
        console.print("none")
        return
    table = columns(*(name.replace("_", " ") for name in rows[0]), left=len(rows[0]))
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    console.print(table)


def keys(console: Console, data: dict[str, Any]) -> None:
    """Each key, its value, and the file or override that set it."""
    table = columns("key", "value", "from", left=3)
    for row in data["keys"]:
        table.add_row(row["key"], _cell(row["key"], row["value"]), row["source"])
    console.print(table)


def several(console: Console, data: dict[str, Any]) -> None:
    """The runs of a multirun, one after the other."""
    for one in data["runs"]:
        trained(console, one)


def text(console: Console, data: dict[str, Any]) -> None:
    """A text as it is."""
    console.file.write(data["text"])


def _errors(figures: dict[str, Any], *, many: bool) -> list[str]:
    top5 = [percent(1 - figures["top5"])] if many else []
    return [percent(figures["top1"]), percent(1 - figures["top1"]), *top5, number(figures["loss"])]


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 - any value of a listing
    if value is None:
        return "null" if "." in name else "–"
    if name == "input":
        return shape(value)
    if name in ("params", "macs"):
        return count(value)
    if name in ("val_top1", "test_top1"):
        return percent(value)
    return str(value)


VIEWS: dict[str, Callable[[Console, dict[str, Any]], None]] = {
    "plan": plan, "trained": trained, "several": several, "evaluated": evaluated,
    "listing": listing, "keys": keys, "text": text,
}  # fmt: skip
