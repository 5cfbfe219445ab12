"""Evaluations of images that nets make anew, as people read them."""

from __future__ import annotations

import csv
import io
from typing import Any

from rich.console import Console
from rich.text import Text

from cnnctl.report.evaluated import CUT, ORDER, origin
from cnnctl.report.format import count, decibels, duration, image_count, number, percent
from cnnctl.report.predicted import failed, plain
from cnnctl.report.table import columns, pairs

FIGURES = {"explained": "explained", "psnr": "PSNR", "mse": "squared error", "loss": "loss"}
OF_FILES = ("explained", "psnr")


def remade(console: Console, data: dict[str, Any]) -> None:
    """Figures with their intervals, files."""
    _one(console, data)
    origin(console, data, _sources(data))


def remade_paired(console: Console, data: dict[str, Any]) -> None:
    """Two nets on the same images: the differences, and if they are noise."""
    first, second = (one["metrics"] for one in data["nets"])
    told, corner = data["comparison"], _measured(data)
    rows = [
        [FIGURES[name], value(name, first[name]), value(name, second[name]), _change(name, told)]
        for name in first
    ]
    columns(console, (corner, "first", "second", "second − first"), rows, text=(corner,))
    console.print()
    closer = [(f"{word} closer", image_count(told[f"{word}_closer"])) for word in ORDER]
    pairs(console, closer)
    console.print()
    _winner(console, told["better"], [f"the {word} is better" for word in ORDER])
    rows = [(word, one["checkpoint"]) for word, one in zip(ORDER, data["nets"], strict=True)]
    pairs(console, [*rows, *_kept(data)], (*ORDER, "folder"))


def remade_together(console: Console, data: dict[str, Any]) -> None:
    """Each net alone, all together, and what that gains."""
    told, corner = data["ensemble"], _measured(data)
    members = list(enumerate(told["members"], start=1))
    head = (corner, *FIGURES.values())
    named = [*((f"net {place}", one) for place, one in members), ("together", data)]
    rows = [[name, *(value(key, one["metrics"][key]) for key in FIGURES)] for name, one in named]
    columns(console, head, rows, text=(corner,))
    console.print()
    gain = told["gain_over_best"]
    pairs(console, [(f"against net {told['best'] + 1}", _change("explained", gain))])
    console.print()
    words = [f"together they are {word} than the best net alone" for word in ("worse", "better")]
    _winner(console, gain["better"], words)
    _one(console, data)
    rows = [*((f"net {place}", one["checkpoint"]) for place, one in members), *_sources(data)]
    pairs(console, rows, [name for name, _ in rows if name not in CUT])


def remade_files(console: Console, data: dict[str, Any]) -> None:
    """What was made of each file, and how near it is; what failed, on stderr."""
    rows = data["predictions"]
    cells = [
        [plain(row["file"]), plain(row["image"]), *(value(name, row[name]) for name in OF_FILES)]
        for row in rows
    ]
    if rows:
        text = ("file", "made of it")
        head = (*text, *(FIGURES[name] for name in OF_FILES))
        columns(console, head, cells, text=text, gives=("file",))
    for row in rows:
        if row["note"]:
            console.print(f"{plain(row['file'])}: {row['note']}", style="dim", soft_wrap=True)
    if rows:
        console.print()
        pairs(console, [("folder", plain(data["folder"]))], ("folder",))
    failed(console, data)


def remade_files_csv(console: Console, data: dict[str, Any]) -> None:
    """One row for each file, numbers unrounded; what failed, on stderr."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    names = ("file", "image", "mse", "psnr", "explained")
    rows.writerow(names)
    rows.writerows([one[name] for name in names] for one in data["predictions"])
    console.file.write(file.getvalue())
    failed(console, data)


def value(name: str, figure: float) -> str:
    """A figure with its unit."""
    if name == "explained":
        return percent(figure)
    return decibels(figure) if name == "psnr" else number(figure)


def _one(console: Console, data: dict[str, Any]) -> None:
    corner, ends = _measured(data), data["intervals"]
    rows = [
        [FIGURES[name], value(name, figure), _between(name, ends[name])]
        for name, figure in data["metrics"].items()
    ]
    columns(console, (corner, "", "95 % interval"), rows, text=(corner,))
    console.print()


def _between(name: str, ends: list[float] | None) -> str:
    """97.11 – 99.42 %."""
    if ends is None:
        return "–"
    low = value(name, ends[0]).removesuffix(" %").removesuffix(" dB")
    return f"{low} – {value(name, ends[1])}"


def _change(name: str, told: dict[str, Any]) -> str:
    """+1.20 % (−0.40 to +2.80 %)."""
    if name not in told:
        return ""
    own, *ends = (_signed(name, one) for one in _ends(told[name]))
    return own if not ends else f"{own} ({ends[0]} to {ends[1]})"


def _ends(told: dict[str, Any]) -> list[float]:
    return [told["difference"], *(told["interval"] or ())]


def _signed(name: str, figure: float) -> str:
    return f"{'+' if figure >= 0 else ''}{value(name, figure)}".replace("-", "−")


def _winner(console: Console, better: int | None, words: list[str]) -> None:
    if better is None:
        console.print(Text("within noise: neither is shown to be better", style="yellow"))
    else:
        console.print(Text(words[better], style="bold"))
    console.print()


def _measured(data: dict[str, Any]) -> str:
    return f"{image_count(data['n'])} of {data['split']}"


def _sources(data: dict[str, Any]) -> list[tuple[str, str]]:
    speed = f"{count(round(data['images_per_second']))} images/s · {duration(data['seconds'])}"
    return [("speed", speed), *_kept(data)]


def _kept(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Where it is kept, and what besides result.json."""
    return [("folder", data["folder"]), ("files", " ".join(data["files"][1:]))]
