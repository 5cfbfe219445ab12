"""Whether the images of a split were kept out of the training of the net that they judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cnnctl import runs
from cnnctl.commands.trained import Trained
from cnnctl.data.source import Source
from cnnctl.errors import RunError
from cnnctl.report.format import count

SAME = ("name", "root")  # of data: what says which images there are


def warning(one: Trained, source: Source, split: str) -> str | None:
    """A line about images of `split` that the run has not kept out of its train split.

    None where all is well, or nothing can be said: another data set, no split.json, a split that
    the data set comes with.
    """
    run = _run(one)
    kept = None if run is None else _kept(run)
    if split == "train" or not kept or split not in source.drawn:
        return None
    assert run is not None
    try:
        before = runs.read_config(run / runs.CONFIG).get("data", {})
    except RunError:
        return None
    if any(before.get(name) != one.config["data"].get(name) for name in SAME):
        return None
    away = {name for names in kept.values() for name in names}
    names = [source.splits[split].name(i) for i in range(len(source.splits[split].labels))]
    seen = sum(name not in away for name in names)
    if not seen:
        return None
    return (
        f"{count(seen)} of the {count(len(names))} images of {split} were not held out when "
        f"{run} was trained: it may know them by heart{_why(before, one.config['data'])}"
    )


def _run(one: Trained) -> Path | None:
    """The run that the weights are from, if it is there."""
    if one.manifest is not None:
        return Path(one.manifest.run)
    return one.folder or (one.file.parent.parent if one.saved is not None else None)


def _kept(run: Path) -> dict[str, list[str]] | None:
    try:
        return json.loads((run / runs.SPLIT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _why(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The keys that cut the splits in another way."""
    cut = ("split_seed", "val_fraction", "test_fraction", "folds", "fold")
    keys = [f"data.{name}={now.get(name)}" for name in cut if before.get(name) != now.get(name)]
    return f" ({', '.join(keys)})" if keys else ""
