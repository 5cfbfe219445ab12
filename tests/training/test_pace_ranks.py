"""Several processes that train together, each making several steps for one call."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnctl import weights

CODE = "import sys; from cnnctl.training import pace; {}; from cnnctl.cli import main; main()"
SINGLE = "pace.fits = lambda *_: False"
EIGHT = "pace.Pace.on_train_epoch_start = lambda self, *_: self.module.chunk(8)"
TIMED = "pass"
# The smallest residual net: its running statistics differ from process to process.
WORDS = [
    "train", "model=resnet20", "model.depths=[1,1,1]", "data.size=8", "trainer.max_epochs=2",
    "trainer.max_steps=17", "hardware=cpu", "hardware.devices=2", "progress=none", "--json",
]  # fmt: skip


def trained(how: str, place: Path, words: list[str] = WORDS) -> dict[str, Any]:
    """The result of two processes, started as torchrun starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CODE.format(how), *words, f"outputs={place}"],
            env={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank, "KINETO_LOG_LEVEL": "6"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    told = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    return json.loads(told[0][0])["result"]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What steps make of it whose batches come one by one."""
    return trained(SINGLE, tmp_path_factory.mktemp("usual"))


def test_weights_and_figures_do_not_depend_on_how_many_come_at_once(usual, tmp_path) -> None:
    found = trained(EIGHT, tmp_path)
    for key in ("weights_sha256", "best", "val", "test", "steps", "epochs"):
        assert found[key] == usual[key], key


def test_all_processes_measure_the_net_that_is_saved(usual, cnnctl) -> None:
    best = f"{usual['run']}/checkpoints/best.ckpt"
    alone = cnnctl("evaluate", best, "split=val", "--json").document["result"]["metrics"]
    wanted = usual["val"]
    assert {name: alone[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)
    held = weights.read(Path(best)).weights
    assert any("running_mean" in name for name in held)


def test_two_processes_learn_what_one_does_from_all_their_images(cnnctl, tmp_path) -> None:
    """The gradient is exchanged once for the two parts of a step."""
    words = [
        "train", "model=mlp", "model.hidden=[8]", "optimizer=sgd", "trainer.max_epochs=1",
        "trainer.max_steps=6", "hardware=cpu", "progress=none", "--json",
    ]  # fmt: skip
    two = ["hardware.devices=2", "trainer.accumulate=2", "data.batch_size=16"]
    found = [
        trained(TIMED, tmp_path, [*words, *two]),
        cnnctl(*words, "data.batch_size=64").document["result"],
    ]
    several, alone = (weights.read(Path(one["run"]) / "checkpoints/last.ckpt") for one in found)
    for name, value in several.weights.items():
        torch.testing.assert_close(value, alone.weights[name], rtol=1e-4, atol=1e-6)
    assert found[0]["val"] == pytest.approx(found[1]["val"], rel=1e-4)
