"""What the comparisons of this folder share: both sides in turn, medians of pairs, one table.

Only ratios travel from machine to machine. Promises are judged by CPU time, of one thread on
either side: on a machine that others use, wall time also tells what those do.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from cnnctl.training.start import Job

CNNCTL = str(Path(sys.executable).with_name("cnnctl"))
PEERS = Path(__file__).parent / "peers"
ROUNDS = 5
WIDTH = 50
SCREEN = {"COLUMNS": "120", "LINES": "40", "TERM": "xterm-256color"}


class Cost(NamedTuple):
    """Wall and CPU seconds of the same work."""

    wall: float
    cpu: float


Turn = dict[str, Cost]


def arguments(about: str | None) -> argparse.ArgumentParser:
    """The parser of a script, with the number of rounds."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rounds", nargs="?", type=int, default=ROUNDS, help="pairs (%(default)s)")
    return parser


def in_turn(
    sides: Mapping[str, Callable[[], Cost]], rounds: int, *, warm: int = 1
) -> list[Turn]:  # fmt: skip
    """Every side once a round, in the given order; the first `warm` rounds do not count."""
    return [{name: side() for name, side in sides.items()} for _ in range(rounds + warm)][warm:]


class Table:
    """Rows of ours, theirs, how many times as fast ours is, and what is promised of that."""

    def __init__(self, title: str, rounds: int, *, unit: str = "s", work: float = 0) -> None:
        """Times are shown in seconds or, with `work`, as how much of it is done in a second."""
        self.kept = True
        self.unit = unit
        self.work = work
        print(f"\n{title}; {rounds} pairs, {os.cpu_count()} cores, torch {version('torch')};")
        print("medians; CPU time, unless a promise is by wall; only the ratios travel")
        print(f"{'':{WIDTH}}{'ours':>16}{'theirs':>16}{'by cpu':>8}{'by wall':>9}  promise")

    def row(
        self, name: str, turns: Sequence[Turn], sides: tuple[str, str],
        promise: float | None = None, *, by: Literal["cpu", "wall"] = "cpu",
    ) -> None:  # fmt: skip
        """Print two sides; `promise`: ours at least so many times as fast, by that clock.

        A promise below 1 allows ours to be slower.
        """
        clocks = {
            kind: [(getattr(turn[sides[0]], kind), getattr(turn[sides[1]], kind)) for turn in turns]
            for kind in Cost._fields
        }
        faster = {
            kind: median(theirs / ours for ours, theirs in pairs) for kind, pairs in clocks.items()
        }
        ours, theirs = (self._shown(median(side)) for side in zip(*clocks[by], strict=True))
        told = "" if promise is None else f"  ≥ {promise:.2f}{' by wall' if by == 'wall' else ''}"
        if promise is not None and faster[by] < promise:
            self.kept = False
            told += "  NOT KEPT"
        ratios = f"{faster['cpu']:>8.2f}{faster['wall']:>9.2f}"
        print(f"{name:{WIDTH}}{ours:>16}{theirs:>16}{ratios}{told}", flush=True)

    def _shown(self, seconds: float) -> str:
        figure = f"{self.work / seconds:,.0f}" if self.work else f"{seconds:.2f}"
        return f"{figure} {self.unit}"


def timed(work: Callable[[], object]) -> Cost:
    """The cost of a call, in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def cost_of(command: Sequence[str], **env: str) -> Cost:
    """Run a command, with its children, on a terminal; `env` is added to the environment."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with terminal() as (end, seen):
        done = subprocess.run(
            command, stdout=end, stderr=end, check=False, env={**os.environ, **SCREEN, **env}
        )
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{seen.decode()}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, bytearray]]:
    """A terminal to write to, so that progress bars draw as for their users; and its last text."""
    reading, writing = os.openpty()
    seen = bytearray()

    def drain() -> None:
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while text := os.read(reading, 65536):
                seen[:] = (seen + text)[-4000:]

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        yield writing, seen
    finally:
        os.close(writing)
        reader.join()
        os.close(reading)


def prepared(words: Sequence[str]) -> Job:
    """The job that `cnnctl train WORDS` would work off, in this process."""
    from cnnctl.commands import job
    from cnnctl.config import compose, preflight

    with compose.opened():
        config, problems = compose.compose("train", words)
    preflight.require(problems)
    return job.prepare(config, words)
