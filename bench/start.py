"""How long a command takes to start, beside what it is compared with.

    python bench/start.py [ROUNDS]

Runs both sides in turn and prints the medians of CPU and wall time and their ratio, which
is what travels from machine to machine. Exits with 1 if a promised ratio is not kept.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

CNNCTL = str(Path(sys.executable).with_name("cnnctl"))
PASS = [sys.executable, "-c", "pass"]
TORCH = [sys.executable, "-c", "import torch"]


class Promise(NamedTuple):
    """`ours` takes at most `most` times as long as `theirs`, and exits with `code`."""

    name: str
    ours: list[str]
    theirs: list[str]
    most: float
    code: int = 0


PROMISES = (
    Promise("cnnctl --help / python -c pass", [CNNCTL, "--help"], PASS, 4),
    Promise("typo refused / import torch", [CNNCTL, "train", "optimizer.lrr=1"], TORCH, 0.3, 2),
    Promise("cnnctl list models / import torch", [CNNCTL, "list", "models"], TORCH, 0.3),
)


def seconds_of(command: list[str], code: int) -> tuple[float, float]:
    """Wall and CPU seconds of one run of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != code:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.decode()}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure every promise; returns 1 if one is not kept."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    kept = True
    print(f"{rounds} rounds in turn after one to warm up; {os.cpu_count()} cores\n")
    print(f"{'':36}{'ours':>9}{'theirs':>9}{'ratio':>8}{'cpu':>8}{'at most':>9}")
    for promise in PROMISES:
        pairs = [
            (seconds_of(promise.ours, promise.code), seconds_of(promise.theirs, 0))
            for _ in range(rounds + 1)
        ][1:]
        ours, theirs = (median(pair[side][0] for pair in pairs) for side in (0, 1))
        ratio, cpu = (median(pair[0][kind] / pair[1][kind] for pair in pairs) for kind in (0, 1))
        verdict = "" if ratio <= promise.most else "  NOT KEPT"
        kept &= ratio <= promise.most
        times = f"{1000 * ours:>6.0f} ms{1000 * theirs:>6.0f} ms"
        print(f"{promise.name:36}{times}{ratio:>8.2f}{cpu:>8.2f}{promise.most:>9}{verdict}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
