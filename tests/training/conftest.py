"""Jobs and runs of a few seconds, made through the same functions as `cnnctl train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cnnctl import runs
from cnnctl.commands import job
from cnnctl.config import compose
from cnnctl.training.start import Job


class Done(NamedTuple):
    """A finished run: its job, its folder, its result."""

    job: Job
    folder: Path
    result: dict[str, Any]


def _prepare(*overrides: str) -> Job:
    words = ["hardware=cpu", "progress=none", "trainer.max_epochs=1", *overrides]
    with compose.opened():
        config, problems = compose.compose("train", words)
    assert problems == []
    return job.prepare(config, words)


@pytest.fixture(scope="session")
def prepare() -> Callable[..., Job]:
    """A job on the CPU for one epoch: prepare("schedule=step", …)."""
    return _prepare


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Done]:
    """Train in a folder of its own: train("seed=1").result."""

    def run(*overrides: str) -> Done:
        ready = _prepare(*overrides)
        folder = runs.create(str(tmp_path_factory.mktemp("outputs")), "train", "run")
        return Done(ready, folder, job.work(ready, folder))

    return run
