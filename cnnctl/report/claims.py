"""Printed figures beside computed ones on the terminal: `cnnctl audit claims`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from cnnctl.report.format import count, shape
from cnnctl.report.table import GAP, columns, pairs

MARKS = {
    "holds": ("✓ holds", "green"),
    "holds_within_rounding": ("≈ rounding", "cyan"),
    "differs": ("✗ differs", "bold red"),
}
HEAD = ("claim", "printed", "computed", "verdict", "source")
RECORDED = "*"
INDENT = 4
MB = 1e6


def claims(console: Console, data: dict[str, Any]) -> None:
    """The claims by system, why some of them differ, what decks disagree on, and the sums."""
    systems: dict[str, list[dict[str, Any]]] = {}
    for claim in data["claims"]:
        systems.setdefault(claim["system"], []).append(claim)
    if systems:
        _table(console, systems)
        console.print()
    if data["contradictions"]:
        console.print(Text("contradictions between the decks", style="bold underline"))
        for one in data["contradictions"]:
            _contradiction(console, one)
        console.print()
    _legend(console, data)
    console.print(Text(_summary(data["summary"]), style="bold"))


def _table(console: Console, systems: dict[str, list[dict[str, Any]]]) -> None:
    """One table, in which each system has a line of its own and each reason a paragraph."""
    rows = [_row(claim) for found in systems.values() for claim in found]
    plain = Console(file=io.StringIO(), width=console.width, highlight=False, markup=False)
    columns(plain, HEAD, _fitted(rows, console.width), text=HEAD, gives=HEAD[:2])
    assert isinstance(plain.file, io.StringIO)
    head, rule, *lines = plain.file.getvalue().splitlines()
    console.print(Text(head.rstrip(), style="bold"))
    console.print(Text(rule, style="dim"))
    told = iter(lines)
    for system, found in systems.items():
        console.print(Text(system, style="bold"))
        for claim, line in zip(found, told, strict=False):
            mark, style = MARKS[claim["verdict"]]
            text = Text(line.rstrip())
            text.highlight_words([mark], style)
            console.print(text)
            if claim["reason"]:
                _why(console, claim)


def _row(claim: dict[str, Any]) -> list[str]:
    """The cells of one claim; its name without the first word, which repeats the system."""
    return [
        f"  {claim['id'].partition('.')[2]}", claim["printed"],
        figure(claim["computed"], claim["unit"]) + _star(claim),
        MARKS[claim["verdict"]][0], _place(claim["sources"]),
    ]  # fmt: skip


def _fitted(rows: list[list[str]], width: int) -> list[list[str]]:
    """Names and prints cut at their beginning: what tells them apart stands at the end."""
    most = [max(map(len, cells)) for cells in zip(HEAD, *rows, strict=True)]
    room = width - sum(most[2:]) - GAP * (len(HEAD) - 1)
    name = min(most[0], max(room // 2, room - most[1]))
    return [[_cut(row[0], name, "  "), _cut(row[1], room - name), *row[2:]] for row in rows]


def _cut(text: str, width: int, start: str = "") -> str:
    over = len(text) - width
    return text if over <= 0 else f"{start}…{text[len(start) + over + 1 :]}"


def figure(value: Any, unit: str) -> str:
    """A computed value: 3,211,264, 60.95 MB, 15.3 %, 0.086957, 224×224×64, 18 34 50, vgg19."""
    if unit == "bytes":
        return f"{value / MB:,.2f} MB"
    if unit == "percent":
        return f"{value:g} %"
    if isinstance(value, list):
        return shape(value) if unit == "shape" else " ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:,.6g}"
    return count(value) if isinstance(value, int) else str(value)


def _star(claim: dict[str, Any]) -> str:
    return RECORDED if claim["status"] == "recorded" else ""


def _place(sources: Sequence[dict[str, str]]) -> str:
    """002:403, and how many more lines print the same."""
    more = f" +{len(sources) - 1}" if len(sources) > 1 else ""
    return _short(sources[0]["file"], sources[0]["line"]) + more


def _short(file: str, line: str) -> str:
    return f"{_key(file)}:{line}"


def _why(console: Console, claim: dict[str, Any]) -> None:
    """Cause and reason of a print that differs, and every line that it stands on."""
    reason = Text(claim["reason"])
    if claim["cause"]:
        reason = Text.assemble((claim["cause"], "bold"), ": ", reason)
    _paragraph(console, reason)
    files = groupby(claim["sources"], lambda source: source["file"])
    places = (f"{file}:{', '.join(source['line'] for source in found)}" for file, found in files)
    _paragraph(console, Text(" · ".join(places), style="dim"))


def _contradiction(console: Console, one: dict[str, Any]) -> None:
    """What each deck says of one thing, and what is so."""
    console.print(Text(f"  {one['about']}", style="bold"), no_wrap=True, overflow="ellipsis")
    places = [_short(*position["source"].split(":")) for position in one["positions"]]
    wide = max(map(len, places))
    for place, position in zip(places, one["positions"], strict=True):
        line = Text(f"{' ' * INDENT}{place:<{wide}}  {position['says']}")
        console.print(line, no_wrap=True, overflow="ellipsis")
    _paragraph(console, Text(f"→ {one['resolution']}"))


def _paragraph(console: Console, text: Text) -> None:
    """Wrapped and indented."""
    for line in text.wrap(console, console.width - INDENT):
        line.rstrip()
        console.print(Text.assemble(" " * INDENT, line))


def _legend(console: Console, data: dict[str, Any]) -> None:
    """The decks that are named above, and what the star means."""
    files = [source["file"] for claim in data["claims"] for source in claim["sources"]]
    files += [
        position["source"].partition(":")[0]
        for one in data["contradictions"]
        for position in one["positions"]
    ]
    rows = [(_key(file), f"{file}  {data['decks'][file]}") for file in sorted(set(files))]
    if any(claim["status"] == "recorded" for claim in data["claims"]):
        rows.append((RECORDED, "recorded in the paper, not computed here"))
    if rows:
        pairs(console, rows)
        console.print()


def _key(file: str) -> str:
    """The number of a deck, with which its file's name begins."""
    return file.partition("_")[0]


def _summary(told: dict[str, int]) -> str:
    """232 hold · 44 within rounding · 30 differ · 29 recorded only."""
    held, differ = (verb + "s" * (told[f"{verb}s"] == 1) for verb in ("hold", "differ"))
    return " · ".join([
        f"{told['holds']} {held}", f"{told['holds_within_rounding']} within rounding",
        f"{told['differs']} {differ}", f"{told['recorded']} recorded only",
    ])  # fmt: skip
