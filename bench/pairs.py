"""What the comparisons of this folder share: both sides in turn, medians of pairs, one table.

Only ratios travel from machine to machine: the same side takes twice as long on a busy one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

CNNCTL = str(Path(sys.executable).with_name("cnnctl"))
PEERS = Path(__file__).parent / "peers"
CIFAR = "~/.cache/cnnctl-trial/cifar10"
WIDTH = 52


class Cost(NamedTuple):
    """Wall and CPU seconds of the same work."""

    wall: float
    cpu: float


Side = Callable[[], Cost]
Turn = dict[str, Cost]


def in_turn(sides: Mapping[str, Side], rounds: int, warm: int = 1) -> list[Turn]:
    """Every side once a round, in the given order; the first `warm` rounds do not count."""
    return [{name: side() for name, side in sides.items()} for _ in range(rounds + warm)][warm:]


class Table:
    """Rows of ours, theirs, how many times as fast, and what is promised of it."""

    def __init__(self, unit: str = "s", work: float = 0) -> None:
        """Times are shown in seconds, or as `work` done in a second with the given unit."""
        self.kept = True
        self.unit = unit
        self.work = work
        print(f"{'':{WIDTH}}{'ours':>14}{'theirs':>14}{'faster':>8}{'cpu':>7}  promise")

    def row(
        self, name: str, turns: Sequence[Turn], sides: tuple[str, str], promise: float | None = None
    ) -> float:
        """Print the medians of two sides; `promise`: at least so many times as fast, in wall time.

        A promise below 1 allows ours to be slower. Returns how many times as fast.
        """
        ours, theirs = ([turn[side] for turn in turns] for side in sides)
        both = list(zip(ours, theirs, strict=True))
        faster = median(other.wall / own.wall for own, other in both)
        cpu = median(other.cpu / own.cpu for own, other in both)
        kept = promise is None or faster >= promise
        self.kept &= kept
        shown = "".join(self._shown(median(cost.wall for cost in side)) for side in (ours, theirs))
        told = "" if promise is None else f"  ≥ {promise:.2f}{'' if kept else '  NOT KEPT'}"
        print(f"{name:{WIDTH}}{shown}{faster:>8.2f}{cpu:>7.2f}{told}", flush=True)
        return faster

    def _shown(self, seconds: float) -> str:
        figure = f"{self.work / seconds:,.0f}" if self.work else f"{seconds:.2f}"
        return f"{figure + ' ' + self.unit:>14}"


@contextlib.contextmanager
def stopwatch() -> Iterator[list[Cost]]:
    """Gives a list that holds the cost of the block, once it is over."""
    found: list[Cost] = []
    wall, cpu = time.perf_counter(), time.process_time()
    yield found
    found.append(Cost(time.perf_counter() - wall, time.process_time() - cpu))


@contextlib.contextmanager
def terminal() -> Iterator[int]:
    """A terminal to write to, so that progress bars draw as they do for their users."""
    ours, theirs = os.openpty()
    reader = threading.Thread(target=_drain, args=(ours,), daemon=True)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)


def _drain(end: int) -> None:
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while os.read(end, 65536):
            pass


def cost_of(command: Sequence[str], **env: str) -> Cost:
    """Run a command on a terminal, with `env` added to the environment; its children count."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    size = {"COLUMNS": "120", "LINES": "40", "TERM": "xterm-256color"}
    with terminal() as end, tempfile.TemporaryFile("w+") as log:
        stdout = end if "--logged" not in env else log
        done = subprocess.run(
            command, stdout=stdout, stderr=end, check=False, env={**os.environ, **size, **env}
        )
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"exited with {done.returncode}: {' '.join(command)}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
