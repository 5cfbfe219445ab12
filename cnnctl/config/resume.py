"""What may be changed of a run that goes on: what extends it, not what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.errors import Problem

MAY_CHANGE = (
    "trainer.max_epochs", "trainer.max_steps", "trainer.compile", "checkpoint", "progress",
    "logger", "on_nan", "on_oom", "outputs",
    "hardware.name", "hardware.accelerator", "hardware.devices", "hardware.num_nodes",
    "hardware.strategy", "data.workers", "data.cache", "data.root", "data.download",
)  # fmt: skip
BATCH = ("data.batch_size", "trainer.accumulate")  # as long as the global batch stays
LENGTHS = ("max_epochs", "max_steps")
WHOLE = ("cosine", "one_cycle")  # schedules that know the end


def refused(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Problem]:
    """A problem for every key that is changed and would change the mathematics."""
    hint = "that is a new run: cnnctl train --config RUN/config.yaml …"
    changed = list(differences(saved, wanted))
    names = {key for key, _, _ in changed if key.endswith(".name")} - {"hardware.name"}
    others = {key.removesuffix(".name") for key in names}
    found = [
        Problem(f"{key}={_text(new)} would change the run, which has {_text(old)}", hint, key)
        for key, old, new in changed
        if not any(key == may or key.startswith(f"{may}.") for may in (*MAY_CHANGE, *BATCH))
        # of another choice of a group, its name says it all
        and (key.endswith(".name") or key.partition(".")[0] not in others)
    ]
    for name in LENGTHS:
        before, after = (side["trainer"][name] for side in (saved, wanted))
        if after is not None and (before is None or after < before):
            text = f"trainer.{name}={after} would cut the run, which has {_text(before)}"
            found.append(Problem(text, f"at least {before}" if before else None, f"trainer.{name}"))
    return found


def lengths(config: Mapping[str, Any]) -> list[Any]:
    """What says how long a run is."""
    return [config["trainer"][name] for name in LENGTHS]


def shares(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether other images go through the net together, which batch norm notices.

    On other devices they do only if one of these changes, too: the global batch has to stay.
    """
    return not {key for key, _, _ in differences(saved, wanted)}.isdisjoint(BATCH)


def warnings(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What is allowed, and yet not what one training of that length would have been."""
    before, after = lengths(saved), lengths(wanted)
    name, warmup = wanted["schedule"]["name"], wanted["schedule"]["warmup"]
    found = []
    if before != after and (name in WHOLE or "%" in str(warmup)):
        now = f"the {name} schedule now ends where the longer run does"
        found.append(f"{now}; the steps so far were made as if it ended earlier")
    if before != after and "%" in str(wanted["trainer"]["swa"]):
        found.append(f"trainer.swa={wanted['trainer']['swa']} is now a share of the longer run")
    return found


def differences(
    saved: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, old value, new value), None where there is none."""
    for name in dict.fromkeys([*saved, *wanted]):
        old, new, key = saved.get(name), wanted.get(name), f"{prefix}{name}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{key}.")
        elif old != new:
            yield key, old, new


def _text(value: Any) -> str:
    return "null" if value is None else str(value).replace(" ", "")
