"""Several processes: they are killed, all or one, and go on to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnctl import weights

# 1,240 images, in steps of 2 x 64, ten an epoch: two processes take as many each, and none twice.
# Without anything that differs between one process and two, as dropout does.
WORDS = (
    "model=mlp", "model.hidden=[8]", "data.size=8", "data.batch_size=64", "hardware=cpu",
    "hardware.devices=2", "trainer.max_epochs=4", "schedule=constant", "optimizer=sgd",
    "checkpoint.every=1steps", "progress=plain", "data.val_fraction=0.11",
)  # fmt: skip
SAME = ("weights_sha256", "best", "val", "test", "steps", "epochs")


def started(*words: str) -> subprocess.Popen[str]:
    """`cnnctl train` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cnnctl", "train", *words], text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "KINETO_LOG_LEVEL": "6"},
    )  # fmt: skip


def result(*words: str) -> dict[str, Any]:
    with started(*words, "--json") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)["result"]


def ranks_of(parent: int) -> list[int]:
    """The processes that it has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(number) for number in children.split()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two processes that are never ended."""
    return result(*WORDS, f"outputs={tmp_path_factory.mktemp('whole')}")


@pytest.fixture
def killed(tmp_path: Path) -> Callable[[str], tuple[Path, str]]:
    """Start two processes and end `all` of them or the `second`, once steps have been made."""

    def kill(which: str) -> tuple[Path, str]:
        with started(*WORDS, f"outputs={tmp_path}") as process:
            while not (found := list(tmp_path.glob("*/*/checkpoints/last.ckpt"))):
                assert process.poll() is None
                time.sleep(0.01)
            if which == "all":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                os.kill(ranks_of(process.pid)[1], signal.SIGKILL)
            _, err = process.communicate(timeout=60)
        run = found[0].parent.parent
        assert not (run / "result.json").exists()
        return run, err

    return kill


@pytest.mark.parametrize(
    "which", ["all", pytest.param("second", marks=pytest.mark.slow)]
)  # fmt: skip
def test_two_processes_go_on_to_the_same_bits(whole, killed, which) -> None:
    run, err = killed(which)
    if which == "second":
        assert "process 1 of the run was ended by SIGKILL" in err
    gone = result("--resume", str(run))
    assert {name: gone[name] for name in SAME} == {name: whole[name] for name in SAME}
    assert len(gone["resumed"]) == 1
    _, *rows = (run / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3", "4"]


def test_one_process_goes_on_with_the_same_images(whole, killed, cnnctl) -> None:
    """Sums are made in another order."""
    run, _ = killed("all")
    words = ["hardware.devices=1", "data.batch_size=128", "--json"]
    alone = cnnctl("train", "--resume", str(run), *words).document["result"]
    assert (alone["steps"], alone["epochs"]) == (whole["steps"], whole["epochs"])
    ours, theirs = (
        weights.read(Path(one["run"], "checkpoints/last.ckpt")) for one in (alone, whole)
    )
    for name, tensor in ours.weights.items():
        torch.testing.assert_close(tensor, theirs.weights[name], rtol=0, atol=1e-4)


def test_the_gradient_is_that_of_one_process_with_the_same_images(cnnctl, tmp_path) -> None:
    """One step of plain descent with lr 1 is the gradient, here to 1e-6."""
    words = (
        *WORDS, "optimizer.lr=1", "optimizer.momentum=0", "optimizer.weight_decay=0",
        "trainer.max_steps=1",
    )  # fmt: skip
    found = {}
    for devices in (1, 2):
        own = (f"hardware.devices={devices}", f"data.batch_size={128 // devices}")
        place = f"outputs={tmp_path / str(devices)}"
        run = Path(cnnctl("train", *words, *own, place, "--json").document["result"]["run"])
        found[devices] = weights.read(run / "checkpoints/last.ckpt").weights
    for name, tensor in found[1].items():
        torch.testing.assert_close(tensor, found[2][name], rtol=0, atol=1e-6)
