"""Every test runs in an empty folder of its own, with one torch thread and no user settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

# Set before torch is imported: two test processes with two threads each on two cores are
# ten times slower than with one each.
os.environ["OMP_NUM_THREADS"] = "1"
# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


class Outcome(NamedTuple):
    """What a command line did: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Run = Callable[..., Outcome]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--overwrite", action="store_true", help="renew golden files and tables")


@pytest.fixture
def overwrite(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return request.config.getoption("--overwrite")


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder and home, and none of the variables that cnnctl reads."""
    for name in ("CONFIG_DIR", "CACHE"):
        monkeypatch.delenv(f"CNNCTL_{name}", raising=False)
    places = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "LOCAL_WORLD_SIZE", "CNNCTL_STARTED")
    slurm = [name for name in os.environ if name.startswith("SLURM_")]
    for name in ("WANDB_MODE", "WANDB_API_KEY", *places, *slurm):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cnnctl(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process: `cnnctl("train", "seed=1").code`."""
    from cnnctl.cli import main

    def run(*words: str) -> Outcome:
        capfd.readouterr()
        code = main(words)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture
def process() -> Run:
    """Run a command line in a process of its own, with `env` added to the environment."""

    def run(*words: str, **env: str) -> Outcome:
        command = [sys.executable, "-m", "cnnctl", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, **env}
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Make an image folder: photos({"train": {"cat": 4, "dog": 4}, "test": {…}}) -> root.

    Cats are bright at the top and dogs at the bottom, so a net can tell them apart.
    """

    def make(splits: dict[str, dict[str, int]], size: int = 32, name: str = "photos") -> Path:
        root = tmp_path / name
        generator = np.random.default_rng(0)
        for split, classes in splits.items():
            for number, (label, count) in enumerate(sorted(classes.items())):
                folder = root / split / label
                folder.mkdir(parents=True)
                for index in range(count):
                    pixels = generator.integers(0, 60, (size, size, 3))
                    half = slice(0, size // 2) if number % 2 == 0 else slice(size // 2, size)
                    pixels[half] += 150
                    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
        return root

    return make
