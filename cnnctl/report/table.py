"""Tables that fit the terminal: one column gives way with an ellipsis, no row is wrapped."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2  # columns between two cells: the padding, and the divider that the box adds


def pairs(console: Console, rows: Sequence[tuple[str, str]], whole: Sequence[str] = ()) -> None:
    """Names beside their values, cut at the edge; those named in `whole` are paths to copy."""
    width = max(len(name) for name, _ in rows) + GAP
    for name, value in rows:
        line = Text.assemble((name.ljust(width), "bold"), value)
        if name in whole:
            console.print(line, soft_wrap=True)
        else:
            console.print(line, no_wrap=True, overflow="ellipsis")


def columns(  # noqa: PLR0913 - the last three say how it is laid out
    console: Console,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text: Sequence[str] = (),
    gives: Sequence[str] = (),
    drops: Sequence[str] = (),
) -> None:
    """A table with a rule under its head.

    Columns named in `text` stand left, the others right as numbers do. Where the terminal
    is too narrow, the columns in `drops` are left out, the first of them first, and then
    those in `gives` are shortened.
    """
    widths = {
        name: max(cell_len(cell) for cell in cells)
        for name, *cells in zip(head, head, *rows, strict=True)
    }
    excess = sum(widths.values()) + GAP * (len(head) - 1) - console.width
    for name in drops:
        if excess > 0 and name in widths:
            excess -= widths.pop(name) + GAP
    for name in gives:
        cut = max(0, min(excess, widths[name] - len(name)))
        widths[name] -= cut
        excess -= cut
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for name, width in widths.items():
        side = "left" if name in text else "right"
        table.add_column(name, justify=side, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        table.add_row(*(cell for name, cell in zip(head, row, strict=True) if name in widths))
    console.print(table)
