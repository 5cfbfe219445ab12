"""What "killed at any instant" means: SIGKILLs at random instants, then the same bits.

    python bench/kill.py [--kills 10] [--seed 0] [--processes 1] [OVERRIDE …]

Trains a net with dropout and batch norm on shuffled, randomly changed photos that two loader
processes decode, with a checkpoint after every step; once in peace, then again and again, each
time killed with all its processes at an instant drawn evenly over a life, and resumed, until it
is done. With --processes 2 two of them train. Prints a line for each run: how often it was killed
and whether its weights and figures are those of the first; then where the kills fell. Exits with 1
unless all are equal. The promise is shown with --kills 100: 25 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CNNCTL = str(Path(sys.executable).with_name("cnnctl"))
SAME = ("weights_sha256", "best", "val", "test", "steps", "epochs")
PLACES = (
    "before the first step", "within an epoch", "while a checkpoint was being written",
    "in validation", "in the test",
)  # fmt: skip
BATCH = 16  # images of a step, of all processes
# 2 million weights and Adam's two means of each: 25 MB, a third of a step's time to write.
WORDS = (
    "data=folder", "data.size=16", "data.cache=never", "data.workers=2",
    "model=pattern", "model.input=[3,16,16]", "model.levels=[[16],[64]]", "model.hidden=[2048]",
    "model.norm=batch", "model.dropout=0.5", "augment=resized_crop", "trainer.max_epochs=6",
    "checkpoint.every=1steps", "hardware=cpu", "progress=plain",
)  # fmt: skip


class Life:
    """One `cnnctl train`, with all that it starts, in a process group of its own."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        self.began = time.time()
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [CNNCTL, "train", *words], cwd=folder, start_new_session=True,
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def ends(self, seconds: float | None = None) -> bool:
        """Wait so long; whether it has ended by itself. Exits if it has failed."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if code != 0:
            sys.exit(f"exit code {code}:\n{self.log.read_text()}")
        return True

    def kill(self, folder: Path) -> str:
        """SIGKILL for all; says where it was."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        run = run_in(folder)
        return PLACES[0] if run is None else self._place(run)

    def _place(self, run: Path) -> str:
        """By what the last checkpoint says: one is written after every step and every epoch."""
        import torch

        def new(file: Path) -> bool:
            return file.exists() and file.stat().st_mtime >= self.began

        folder, last = run / "checkpoints", run / "checkpoints" / "last.ckpt"
        if any(new(file) for file in folder.glob(".*.ckpt")):
            return PLACES[2]
        if not new(last):
            return PLACES[0]
        plan = json.loads((run / "plan.json").read_text())
        found = torch.load(last, map_location="cpu", weights_only=True, mmap=True)
        begun = found["place"]["begun"]
        if begun == plan["steps_per_epoch"]:
            return PLACES[3]
        return PLACES[4] if begun == 0 and found["global_step"] == plan["steps"] else PLACES[1]


def photos(root: Path) -> None:
    """JPEGs of two classes: light above, or below."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 80), ("val", 60), ("test", 60)):
        for label, half in (("cat", slice(0, 12)), ("dog", slice(12, 24))):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 60, (24, 24, 3))
                pixels[half] += 120
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.jpg")


def made(folder: Path) -> Path:
    """A new folder."""
    folder.mkdir()
    return folder


def run_in(folder: Path) -> Path | None:
    """The run that was begun there, if it has come so far."""
    return next((file.parent for file in folder.glob("outputs/train/*/config.yaml")), None)


def result_in(folder: Path) -> dict[str, Any]:
    """What a run that is done has come to."""
    run = run_in(folder)
    assert run is not None
    result = json.loads((run / "result.json").read_text())
    rows = (run / "metrics.csv").read_text().splitlines()
    return {name: result[name] for name in SAME} | {"rows": len(rows)}


def killed(words: Sequence[str], folder: Path, instants: Iterator[float]) -> list[str]:
    """Train until done, each life ended after the next of `instants`, in seconds.

    Returns where the kills fell.
    """
    places: list[str] = []
    while True:
        run = run_in(folder)
        life = Life(words if run is None else ["--resume", str(run)], folder)
        if life.ends(next(instants, None)):
            return places
        places.append(life.kill(folder))


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """What was asked for, and the overrides."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10, help="at least, in all (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="that train (%(default)s)")
    return parser.parse_known_args()


def main() -> int:
    """Train, kill, resume, compare; returns 1 if a run has come to something else."""
    asked, overrides = arguments()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        photos(root / "photos")
        share = [
            f"hardware.devices={asked.processes}",
            f"data.batch_size={BATCH // asked.processes}",
        ]
        words = [*WORDS, f"data.root={root / 'photos'}", *share, *overrides]
        began = time.monotonic()
        killed(words, made(root / "0"), iter(()))
        seconds, expected = time.monotonic() - began, result_in(root / "0")
        print(f"in peace  {seconds:.1f} s  {expected['weights_sha256'][:12]}", flush=True)
        chance = np.random.default_rng(asked.seed)
        instants = iter(lambda: chance.uniform(0, seconds), None)
        places, runs, equal = Counter[str](), 0, 0
        while places.total() < asked.kills:
            runs += 1
            found = killed(words, made(root / str(runs)), instants)
            result = result_in(root / str(runs))
            places.update(found)
            equal += result == expected
            told = "equal" if result == expected else f"ANOTHER: {result}"
            print(f"run {runs:<3} {len(found):3} kills  {told}", flush=True)
    print("\n".join(f"{places[name]:4} {name}" for name in PLACES))
    print(f"{places.total()} kills, {runs} runs: equal {equal}/{runs}")
    return 0 if equal == runs else 1


if __name__ == "__main__":
    sys.exit(main())
