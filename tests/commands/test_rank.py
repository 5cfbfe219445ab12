from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def prepared(cnnctl) -> Path:
    """A run folder with a configuration and nothing else, as the first process leaves it."""
    words = ["trainer.max_steps=2", "hardware=cpu", "progress=none", "outputs=first"]
    run = Path(cnnctl("train", *words, "--json").document["result"]["run"])
    folder = Path("second")
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text((run / "config.yaml").read_text())
    (folder / "expected.json").write_text((run / "result.json").read_text())
    return folder


def test_one_process_trains_in_the_folder_and_prints_nothing(cnnctl, prepared: Path) -> None:
    assert cnnctl("_rank", str(prepared)) == (0, "", "")
    result, expected = (
        json.loads((prepared / name).read_text()) for name in ("result.json", "expected.json")
    )
    assert result["weights_sha256"] == expected["weights_sha256"]
    assert result["test"] == expected["test"]
    assert result["run"] == "second"


def test_only_the_first_process_keeps_the_result(
    cnnctl, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnctl.commands import job

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(job.trainer, "fit", lambda _job, run, *_: {"run": str(run)})
    assert cnnctl("_rank", str(prepared)).code == 0
    assert not (prepared / "result.json").exists()
    monkeypatch.setenv("RANK", "0")
    assert cnnctl("_rank", str(prepared)).code == 0
    assert json.loads((prepared / "result.json").read_text()) == {"run": "second"}


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Its stdin is a pipe from there; here it is an empty file, which is at its end, too."""
    empty = tmp_path / "empty"
    empty.touch()
    with empty.open() as nothing:
        ended = subprocess.run(
            [sys.executable, "-m", "cnnctl", "_rank", "nowhere"],
            stdin=nothing, capture_output=True, check=False, start_new_session=True,
            env={**os.environ, "CNNCTL_STARTED": "1"},
        )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL


def test_a_folder_that_is_no_run_is_refused(cnnctl) -> None:
    text = "cannot read nowhere/config.yaml: No such file or directory"
    assert cnnctl("_rank", "nowhere") == (2, "", f"cnnctl: error: {text}\n")
