"""What the default of `cnnctl train` reaches: LeNet-5 on digits, five seeds.

    python bench/digits.py [OVERRIDE …]

Prints test top-1 and seconds for the seeds 0 to 4 and their mean; then trains seed 0 once
more and compares the hashes. Exits with 1 if the mean is below 0.98, a run takes more than
60 seconds, or the hashes differ.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

CNNCTL = str(Path(sys.executable).with_name("cnnctl"))
SEEDS = (0, 1, 2, 3, 4)
LEAST, MOST_SECONDS = 0.98, 60


def train(seed: int, overrides: list[str], outputs: str) -> dict[str, Any]:
    """The result of one run."""
    words = [f"seed={seed}", f"outputs={outputs}", "progress=none", *overrides]
    done = subprocess.run(
        [CNNCTL, "train", "--json", *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout)["result"]


def main() -> int:
    """Train, print, compare; returns 1 if a promise is not kept."""
    overrides = sys.argv[1:]
    with tempfile.TemporaryDirectory() as outputs:
        results = [train(seed, overrides, outputs) for seed in SEEDS]
        again = train(SEEDS[0], overrides, outputs)
    for seed, result in zip(SEEDS, results, strict=True):
        figures = f"test top-1 {result['test']['top1']:.4f}  val top-1 {result['val']['top1']:.4f}"
        print(f"seed {seed}  {figures}  {result['seconds']:5.1f} s")
    tops = [result["test"]["top1"] for result in results]
    same = again["weights_sha256"] == results[0]["weights_sha256"]
    slowest = max(result["seconds"] for result in results)
    print(f"mean    test top-1 {mean(tops):.4f} ± {stdev(tops):.4f} (at least {LEAST})")
    print(f"slowest {slowest:.1f} s (at most {MOST_SECONDS} s)")
    print(f"seed {SEEDS[0]} again gives {'the same' if same else 'ANOTHER'} weights hash")
    return 0 if mean(tops) >= LEAST and slowest <= MOST_SECONDS and same else 1


if __name__ == "__main__":
    sys.exit(main())
