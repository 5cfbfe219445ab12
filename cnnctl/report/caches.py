"""What `cnnctl data cache` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from cnnctl.report.figures import decimal
from cnnctl.report.format import count, duration
from cnnctl.report.table import columns, pairs

Document = Mapping[str, Any]


def cached(console: Console, data: Document) -> None:
    """How each split is read, and the caches behind that."""
    for name, feed in data["splits"].items():
        images = f"{count(data['images'][name])} images"
        if feed["kind"] == "memory":
            told = f"{images} in memory, {decimal(feed['bytes'])}: no cache is needed"
        elif feed["kind"] == "map":
            told = f"{images}, {decimal(feed['bytes'])} of the cache"
        else:
            told = f"{images}, decoded each time: {feed['why'] or 'data.cache=never'}"
        pairs(console, [(name.ljust(5), told)])
    for row in data["caches"]:
        state = f"built in {duration(data['seconds'])}" if row["built"] else "was there already"
        told = f"{count(row['images'])} images, {decimal(row['bytes'])}, {state}"
        pairs(console, [("cache", row["cache"]), ("", told)], ("cache",))


def caches(console: Console, data: Document) -> None:
    """A row for each cache."""
    if not data["caches"]:
        console.print(f"no caches in {data['place']}", soft_wrap=True)
        return
    rows = [
        [
            row["cache"].rpartition("/")[2][:8], count(row["images"]),
            f"{row['channels']}×{row['size']}×{row['size']}", decimal(row["bytes"]), row["first"],
        ]
        for row in data["caches"]
    ]  # fmt: skip
    head = ("cache", "images", "of", "size", "first image")
    columns(console, head, rows, text=("cache", "first image"), gives=("first image",))
    console.print()
    pairs(console, [("total", decimal(data["bytes"])), ("place", data["place"])], ("place",))


def cleared(console: Console, data: Document) -> None:
    """How much is free now."""
    number = len(data["caches"])
    told = f"removed {number} cache{'s' * (number != 1)}, {decimal(data['freed'])} are free now in"
    console.print(f"{told if number else 'no caches in'} {data['place']}", soft_wrap=True)
