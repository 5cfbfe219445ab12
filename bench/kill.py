"""What "killed at any instant" means: SIGKILLs at random instants, then the same bits.

    python bench/kill.py [--kills 100] [--seed 0] [--processes 1] [OVERRIDE …]

Trains a net with dropout and batch norm on shuffled, randomly changed photos that two loader
processes decode, with a checkpoint after every step; once in peace, then again and again, each
time killed with all its processes at an instant drawn evenly over a life, and resumed, until it
is done. With --processes 2 two of them train. Prints a line for each run: how often it was killed
and whether its weights and figures are those of the first; then where the kills fell. Exits with 1
unless all are equal.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
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
# 2 million weights and Adam's two means of each: 25 MB, a third of a step's time to write.
WORDS = (
    "data=folder", "data.size=16", "data.batch_size=16", "data.cache=never", "data.workers=2",
    "model=pattern", "model.input=[3,16,16]", "model.levels=[[16],[32]]", "model.hidden=[1024]",
    "model.norm=batch", "model.dropout=0.5", "augment=resized_crop", "trainer.max_epochs=5",
    "checkpoint.every=1steps", "hardware=cpu", "progress=plain",
)  # fmt: skip


class Life:
    """One process of `cnnctl train`, with all that it starts."""

    def __init__(self, words: Sequence[str], outputs: Path) -> None:
        self.outputs = outputs
        self.log = (outputs / "log").open("w+")
        self.process = subprocess.Popen(
            [CNNCTL, "train", *words], cwd=outputs, start_new_session=True,
            stdout=self.log, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def ended(self, seconds: float | None) -> bool:
        """Wait so long; whether it has ended by itself. Exits if it has failed."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if code != 0:
            sys.exit(f"exit code {code}:\n{(self.outputs / 'log').read_text()}")
        return True

    def kill(self) -> None:
        """SIGKILL for the group: its own, and with that the pipe that ranks hold on to."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


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


def run_in(outputs: Path) -> Path | None:
    """The folder of the run that was begun there, if it was."""
    return next((file.parent for file in outputs.glob("outputs/train/*/config.yaml")), None)


def place(outputs: Path, steps: int) -> str:
    """Where the life has come to that has just been killed."""
    run = run_in(outputs)
    if run is None:
        return PLACES[0]
    if any((run / "checkpoints").glob(".*.ckpt")):
        return PLACES[2]
    last = run / "checkpoints" / "last.ckpt"
    began = (run / "plan.json").stat().st_mtime if (run / "plan.json").exists() else time.time()
    if not last.exists() or last.stat().st_mtime < began:  # since this life began
        return PLACES[0]
    return _within(last, steps)


def _within(last: Path, per_epoch: int) -> str:
    """By what the last checkpoint says, which is written after every step and epoch."""
    import torch

    found = torch.load(last, map_location="cpu", weights_only=True, mmap=True)
    steps, at = found["global_step"], found["place"]
    if at["begun"] == per_epoch:
        return PLACES[3]
    return PLACES[4] if at["begun"] == 0 and steps == found["planned"] else PLACES[1]


def main() -> int:
    raise NotImplementedError
