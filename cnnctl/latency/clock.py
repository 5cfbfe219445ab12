"""Times of passes that take turns, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np

Run = Callable[[], object]  # one pass, over when it returns
Joules = Callable[[], float]  # used so far

TURNS = 5  # of each pass
LEAST, FEW = 10, 3  # passes that count; of slow ones
PATIENCE = 20  # seconds that LEAST passes may take
WINDOW, ALIKE = 3, 0.05  # warm: medians of so many passes in a row differ by less than that
SHORT = 0.1  # seconds: of a shorter pass, the first of a turn finds the caches of another


@dataclass
class Timing:
    """Seconds of every pass that counts; joules and number of all that were made meanwhile."""

    seconds: list[float] = field(default_factory=list)
    joules: float | None = None
    passes: int = 0

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)

    @property
    def p95(self) -> float:
        """Seconds that 95 of 100 passes do not exceed, interpolated between two of them."""
        return float(np.percentile(self.seconds, 95))


def rounds(runs: Mapping[str, Run], seconds: float, joules: Joules | None) -> dict[str, Timing]:
    """Measure each for `seconds` and LEAST passes at least, turn by turn, after warming up.

    Where LEAST passes would take longer than PATIENCE, there are FEW.
    """
    found = {name: Timing() for name in runs}
    with _no_garbage():
        usual = {name: warm(run, seconds) for name, run in runs.items()}
        for _ in range(TURNS):
            for name, run in runs.items():
                wanted = LEAST if LEAST * usual[name] <= PATIENCE else FEW
                if len(found[name].seconds) >= wanted and sum(found[name].seconds) >= seconds:
                    continue
                alone = len(runs) == 1 or usual[name] >= SHORT
                turn(run, found[name], seconds / TURNS, wanted, joules, cold=not alone)
    return found


def turn(  # noqa: PLR0913 - what is run, and until when
    run: Run, found: Timing, seconds: float, wanted: int, joules: Joules | None, *, cold: bool
) -> None:
    """One turn: a share of the passes that are wanted, and so many seconds.

    `cold`: the first one does not count.
    """
    before = None if joules is None else joules()
    if cold:
        run()
        found.passes += 1
    began, made = time.perf_counter(), 0
    while made < math.ceil(wanted / TURNS) or time.perf_counter() - began < seconds:
        found.seconds.append(timed(run))
        made += 1
    found.passes += made
    if joules is not None and before is not None:
        found.joules = (found.joules or 0) + joules() - before


def warm(run: Run, seconds: float) -> float:
    """Run until the time is steady, at most `seconds` and twice at least; the usual time of one."""
    began, times = time.perf_counter(), [timed(run), timed(run)]
    while time.perf_counter() - began < seconds and not steady(times):
        times.append(timed(run))
    return median(times[-WINDOW:])


def steady(times: list[float]) -> bool:
    """Whether the last two windows have the same median, or nearly."""
    if len(times) < 2 * WINDOW:
        return False
    before, now = median(times[-2 * WINDOW : -WINDOW]), median(times[-WINDOW:])
    return abs(now - before) <= ALIKE * before


def timed(run: Run) -> float:
    """Seconds of one pass."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    """While open, Python does not stop to look for garbage."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
