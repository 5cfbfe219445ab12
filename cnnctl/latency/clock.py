"""Times of passes that take turns, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple, TypeVar

import numpy as np

from cnnctl.errors import CnnctlError

Run = Callable[[], object]  # one pass, over when it returns
Joules = Callable[[], float | None]  # used so far; None: the counter cannot be read

E = TypeVar("E", bound=Exception)
FAILURES = (RuntimeError, MemoryError, CnnctlError)  # of a pass: torch raises RuntimeError

TURNS = 5  # of each pass
LEAST, FEW = 10, 3  # passes that count; of slow ones
PATIENCE = 20  # seconds that LEAST passes may take
WINDOW, ALIKE = 3, 0.05  # warm: medians of so many passes in a row differ by less than that
SHORT = 0.1  # seconds: of a shorter pass, the first of a turn finds the caches of another
STEP = 0.25  # seconds in which a counter of energy moves at the latest; a GPU's do in 0.1


@dataclass
class Timing:
    """Seconds of every pass that counts; joules of each turn, and passes in all of them together.

    Joules are None where the counter could not be read.
    """

    seconds: list[float] = field(default_factory=list)
    turns: list[float | None] = field(default_factory=list)
    passes: int = 0

    @property
    def joules(self) -> float | None:
        """Of `passes` passes; None without a counter, or where it failed in a turn."""
        known = [one for one in self.turns if one is not None]
        return sum(known) if known and len(known) == len(self.turns) else None

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)

    @property
    def p95(self) -> float:
        """Seconds that 95 of 100 passes do not exceed, interpolated between two of them."""
        return float(np.percentile(self.seconds, 95))


class Reading(NamedTuple):
    """Joules so far, None if they cannot be read, and passes made until the counter moved."""

    joules: float | None
    passes: int


@dataclass(frozen=True)
class Steps:
    """A counter of energy, read when it has just moved.

    A turn is hardly longer than the time in which a GPU's counter stands still. So a pass is
    repeated until it moves, STEP seconds at most; what takes longer (`usual`) is not.
    """

    counter: Joules
    run: Run
    usual: float

    def read(self) -> Reading:
        """What it says now, or as soon as it moves."""
        first, began, made = self.counter(), time.perf_counter(), 0
        now = first
        while now == first and now is not None and self.usual < STEP:
            if time.perf_counter() - began >= STEP:
                break
            self.run()
            made += 1
            now = self.counter()
        return Reading(now, made)


def rounds(
    runs: Mapping[str, Run], seconds: float, joules: Joules | None
) -> tuple[dict[str, Timing], dict[str, Exception]]:
    """Measure each for `seconds` and LEAST passes at least, turn by turn, after warming up.

    Where LEAST passes would take longer than PATIENCE, there are FEW. Also gives what those
    raised that failed; the others go on without them.
    """
    found = {name: Timing() for name in runs}
    usual: dict[str, float] = {}
    failed: dict[str, Exception] = {}
    with _no_garbage():
        for name, run in runs.items():
            with _noted(name, failed):
                usual[name] = warm(run, seconds)
        for _ in range(TURNS):
            for name, one in usual.items():
                wanted = LEAST if LEAST * one <= PATIENCE else FEW
                enough = len(found[name].seconds) >= wanted and sum(found[name].seconds) >= seconds
                if enough or name in failed:
                    continue
                cold = len(usual) > 1 and one < SHORT
                stepped = None if joules is None else Steps(joules, runs[name], one)
                with _noted(name, failed):
                    turn(runs[name], found[name], seconds / TURNS, wanted, stepped, cold=cold)
    return {name: one for name, one in found.items() if name not in failed}, failed


@contextlib.contextmanager
def _noted(name: str, failed: dict[str, Exception]) -> Iterator[None]:
    """Keep a failure."""
    try:
        yield
    except FAILURES as wrong:
        failed[name] = bare(wrong)


def bare(wrong: E) -> E:
    """An error to be kept, without what led to it: frames that hold tensors."""
    wrong.__cause__ = wrong.__context__ = None
    return wrong.with_traceback(None)


def turn(  # noqa: PLR0913 - what is run, and until when
    run: Run, found: Timing, seconds: float, wanted: int, energy: Steps | None, *, cold: bool
) -> None:
    """One turn: a share of the passes that are wanted, and so many seconds.

    `cold`: the first one does not count.
    """
    if cold:
        run()
    before = None if energy is None else energy.read()
    began, made = time.perf_counter(), 0
    while made < math.ceil(wanted / TURNS) or time.perf_counter() - began < seconds:
        found.seconds.append(timed(run))
        made += 1
    if energy is None or before is None:
        return
    after = energy.read()
    found.passes += made + after.passes
    known = None
    if before.joules is not None and after.joules is not None:
        known = after.joules - before.joules
    found.turns.append(known)


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
