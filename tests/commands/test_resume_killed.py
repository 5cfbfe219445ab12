"""A run in a process of its own, ended by Ctrl-C and by SIGKILL, goes on to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np

from cnnctl import runs

WORDS = (
    "model=mlp", "model.hidden=[8]", "data.size=8", "data.batch_size=500", "hardware=cpu",
    "trainer.max_epochs=2", "checkpoint.every=1steps", "schedule=constant", "progress=none",
)  # fmt: skip
SAME = ("weights_sha256", "best", "val", "test", "steps", "epochs")


def assert_same(result: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {name: result[name] for name in SAME} == {name: expected[name] for name in SAME}


def training(*words: str) -> subprocess.Popen[str]:
    """`cnnctl train` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cnnctl", "train", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_ctrl_c_ends_a_run_after_its_step_and_says_how_to_go_on(cnnctl) -> None:
    words = ("data.batch_size=64", "trainer.max_epochs=60", "checkpoint.every=1h", "progress=plain")
    expected = cnnctl("train", *WORDS, "outputs=whole", *words, "--json").document["result"]
    with training(*WORDS, *words) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("epoch 2"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    (run,) = runs.listed("outputs")
    assert process.returncode == 130
    told = err.splitlines()[-1]
    assert told.startswith("cnnctl: interrupted after step ")
    assert told.endswith(f" (go on with: cnnctl train --resume {run})")
    result = cnnctl("train", "--resume", str(run), "--json").document["result"]
    assert_same(result, expected)
    assert result["resumed"] == [int(told.split()[4])]


def test_a_run_that_is_killed_at_any_instant_gets_to_the_same_bits(cnnctl, photos) -> None:
    counts = {"cat": 20, "dog": 20}
    root = photos({"train": counts, "val": counts, "test": counts}, size=12)
    words = [
        *WORDS, "data=folder", f"data.root={root}", "data.batch_size=4", "data.cache=never",
        "data.workers=2", "data.size=8", "model=pattern", "model.levels=[[4]]", "model.hidden=[8]",
        "model.dropout=0.3", "model.norm=batch", "augment=resized_crop", "trainer.max_epochs=4",
    ]  # fmt: skip
    began = time.monotonic()
    with training(*words, "outputs=whole", "--json") as process:
        expected = json.loads(process.communicate()[0])["result"]
    life = time.monotonic() - began
    for share in np.random.default_rng(0).uniform(0.5, 1, 3):  # the first half imports torch
        found = runs.listed("outputs")
        again = ["--resume", str(found[-1])] if found else words
        with training(*again) as process:
            time.sleep(life * share)
            os.killpg(process.pid, signal.SIGKILL)
    run = str(runs.listed("outputs")[-1])
    assert_same(cnnctl("train", "--resume", run, "--json").document["result"], expected)
