from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cnnctl import weights

SHORT = ["trainer.max_steps=2", "hardware=cpu"]
NUMBER = (int, float)
DONE = {  # the keys of the contract, and more, with their types
    "run": str, "weights_sha256": str, "params": int, "epochs": int, "steps": int,
    "seconds": float, "images_per_second": float, "waiting": float,
    "peak_memory_bytes": int, "best": dict, "val": dict, "test": dict, "seed": int,
    "versions": dict, "git": (dict, type(None)), "threads": int,
}  # fmt: skip
PLAN = {
    "model": str, "params": int, "macs": int, "shape": list, "data": str, "classes": list,
    "sizes": dict, "skipped": dict, "feeds": dict, "augment": str, "epochs": int,
    "steps_per_epoch": int, "steps": int, "batch_size": int, "global_batch": int, "seed": int,
    "optimizer": str, "lr": NUMBER, "schedule": str, "warmup_steps": int, "device": dict,
}  # fmt: skip
FITS = "hardware.devices=99 does not fit this machine: it has 4 cores (hardware.devices=1 to 4)"
HALF = "hardware.precision=16-mixed needs a GPU, got hardware.accelerator=cpu"
OTHER = "(choose another folder with outputs=…)"


def assert_keys(document: dict[str, Any], types: dict[str, Any]) -> None:
    assert {name for name in types if name not in document} == set()
    assert [name for name, kind in types.items() if not isinstance(document[name], kind)] == []


def folders(outputs: str = "outputs") -> list[Path]:
    return sorted(Path(outputs, "train").glob("*"))


def test_the_document_of_a_run(cnnctl) -> None:
    outcome = cnnctl("train", "trainer.max_epochs=2", "hardware=cpu", "--json")
    assert outcome.code == 0
    document = outcome.document
    assert {name: document[name] for name in ("schema", "command", "ok")} == {
        "schema": 1, "command": "train", "ok": True,
    }  # fmt: skip
    result = document["result"]
    assert_keys(result, DONE)
    (run,) = folders()
    assert result["run"] == str(run)
    assert result == json.loads((run / "result.json").read_text())
    assert (result["params"], result["epochs"], result["steps"]) == (61706, 2, 40)
    assert result["images_per_second"] > 0
    assert 0 < result["seconds"] < 600
    assert 10**8 < result["peak_memory_bytes"] < 10**11
    for split in ("val", "test"):
        assert_keys(result[split], {"top1": float, "top5": float, "loss": float})
        assert 0 <= result[split]["top1"] <= result[split]["top5"] <= 1
    assert result["weights_sha256"] == weights.sha256(
        weights.read(run / "checkpoints" / "last.ckpt").weights
    )
    lines = outcome.err.splitlines()
    assert [line.split()[0] for line in lines] == [
        "net", "data", "loading", "steps", "augment", "optimizer", "device", "memory", "seed",
        "run", "epoch", "epoch",
    ]  # fmt: skip
    assert lines[-2].startswith("epoch 1/2  step 20  loss ")


def test_a_dry_run_prints_the_plan_and_writes_nothing(cnnctl) -> None:
    code, out, err = cnnctl("train", "--dry-run")
    assert (code, err) == (0, "")
    assert out.startswith(
        "net        lenet5 · 61,706 parameters · 416,520 multiply-adds an image\n"
    )
    result = cnnctl("train", "--dry-run", "--json").document["result"]
    assert_keys(result, PLAN)
    assert (result["steps"], result["sizes"]) == (800, {"train": 1259, "val": 179, "test": 359})
    assert cnnctl("train", "-m", "seed=0,1", "--dry-run").out.count("net        lenet5") == 2
    runs = cnnctl("train", "-m", "seed=0,1", "--dry-run", "--json").document["result"]["runs"]
    assert [run["seed"] for run in runs] == [0, 1]
    assert list(Path.cwd().iterdir()) == [Path.cwd() / "home"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["model=lenet6"], "no 'lenet6' in group 'model' (did you mean 'lenet5'?)"),
        (["hardware=cpu", "hardware.devices=99"], FITS),
        (["hardware=cpu", "hardware.precision=16-mixed"], f"{HALF} (on a CPU use 32-true or bf16-mixed)"),  # noqa: E501 - the text in one piece
        (["hardware=gpu"], "hardware.accelerator=gpu, but torch sees no such device here (use hardware=cpu)"),  # noqa: E501 - the text in one piece
        (["optimizer.lrr=1"], "unknown key 'optimizer.lrr' (did you mean 'optimizer.lr'?)"),
        (["model.kernel=99"], None),
        (["outputs=file/below"], f"cannot make a run folder in file/below/train: Not a directory {OTHER}"),  # noqa: E501 - the text in one piece
        (["--config", "nowhere.yaml"], "cannot read nowhere.yaml: No such file or directory"),
        (["--config-dir", "nowhere"], "--config-dir is not a folder: nowhere"),
        (["--cfg", "jib"], "--cfg takes one of job, hydra, all, got 'jib' (did you mean 'job'?)"),
        (["--info", "x"], "--info takes one of all, config, defaults, defaults-tree, plugins, searchpath, got 'x'"),  # noqa: E501 - the text in one piece
        (["--cfg", "job", "-m"], "--cfg does not go with --multirun (cnnctl show --json)"),
        (["--cfg", "job", "seeed=1"], "unknown key 'seeed' (did you mean 'seed'?)"),
        (["--resolve"], "--resolve is about --cfg (cnnctl train --cfg job --resolve)"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_in_one_line_and_one_document(
    cnnctl, monkeypatch: pytest.MonkeyPatch, words: list[str], text: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    Path("file").touch()
    code, out, err = cnnctl("train", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert text is None or err == f"cnnctl: error: {text}\n"
    outcome = cnnctl("train", *words, "--json")
    assert outcome.code == 2
    assert (outcome.document["ok"], outcome.document["command"]) == (False, "train")
    assert not Path("outputs").exists()


def test_a_read_only_folder_is_told(cnnctl, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir

    def refuse(folder: Path, *args: Any, **options: Any) -> None:
        if folder.parts[:1] == ("outputs",):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        mkdir(folder, *args, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    text = f"cannot make a run folder in outputs/train: Read-only file system {OTHER}"
    assert cnnctl("train", *SHORT)[::2] == (2, f"cnnctl: error: {text}\n")


def test_a_multirun_makes_one_run_folder_for_each_point(cnnctl) -> None:
    outcome = cnnctl("train", "-m", "seed=0,1", *SHORT, "--json")
    assert outcome.code == 0
    results = outcome.document["result"]["runs"]
    assert [result["seed"] for result in results] == [0, 1]
    assert sorted(result["run"] for result in results) == [str(folder) for folder in folders()]
    assert len({result["weights_sha256"] for result in results}) == 2
    shown = cnnctl("train", "-m", "seed=0,1", *SHORT, "outputs=again")
    assert shown.out.count("weights  sha256 ") == 2
    assert len(folders("again")) == 2


def test_a_failing_run_does_not_stop_the_others(cnnctl) -> None:
    outcome = cnnctl("train", "-m", "optimizer.lr=1e38,0.01", "optimizer=sgd", *SHORT, "--json")
    result = outcome.document["result"]
    assert (outcome.code, len(result["runs"]), len(folders())) == (1, 1, 2)
    assert [failed["kind"] for failed in result["failed"]] == ["training"]


def test_hydra_prints_the_configuration_and_the_search_path(process) -> None:
    code, out, _ = process("train", "--cfg", "job", "seed=7", "model=mlp")
    assert code == 0
    config = yaml.safe_load(out)
    assert (config["seed"], config["model"]["hidden"]) == (7, [300])
    Path("mine").mkdir()
    code, out, _ = process("train", "--info", "searchpath", "--config-dir", "mine")
    assert code == 0
    assert str(Path("mine").resolve()) in out
    assert not Path("outputs").exists()


@pytest.mark.parametrize("flags", [[], ["--config-dir", "elsewhere"]])
def test_a_net_of_the_user_trains(cnnctl, flags: list[str]) -> None:
    folder = Path(flags[-1] if flags else "conf") / "model"
    folder.mkdir(parents=True)
    text = "name: mynet\nfamily: mlp\nyear: 2026\npaper: none\ninput: [1, 32, 32]\n"
    text += "classes: 10\ntwin: null\ninit: torch\nstrict: false\n"
    (folder / "mynet.yaml").write_text(f"{text}hidden: [7]\nactivation: relu\n")
    result = cnnctl("train", "model=mynet", *SHORT, *flags, "--json").document["result"]
    assert result["params"] == 1024 * 7 + 7 + 7 * 10 + 10
    assert "_mynet_digits_" in result["run"]


def test_a_saved_configuration_is_replayed_to_the_same_weights(cnnctl) -> None:
    words = [*SHORT, "seed=3", "optimizer.lr=0.01", "outputs=first"]
    first = cnnctl("train", *words, "--json").document["result"]
    config = f"{first['run']}/config.yaml"

    def replay(*more: str) -> dict[str, Any]:
        return cnnctl("train", "--config", config, *more, "--json").document["result"]

    again = replay()
    assert again["weights_sha256"] == first["weights_sha256"]
    assert again["run"] != first["run"]
    other = replay("seed=4", "optimizer=sgd", "outputs=second")
    assert other["weights_sha256"] != first["weights_sha256"]
    saved = yaml.safe_load(Path(other["run"], "config.yaml").read_text())
    assert (saved["seed"], saved["optimizer"]["name"], saved["optimizer"]["lr"]) == (4, "sgd", 0.1)
    assert saved["trainer"]["max_steps"] == 2
    text = "--config replays one saved configuration; it does not go with --multirun"
    refused = cnnctl("train", "--config", config, "-m", "seed=0,1")
    assert refused == (2, "", f"cnnctl: error: {text} (compose from groups instead)\n")
    refused = cnnctl("train", "--config", config, "seeed=1")
    assert refused == (2, "", "cnnctl: error: unknown key 'seeed' (did you mean 'seed'?)\n")


def test_ctrl_c_ends_training_with_one_line_and_exit_code_130() -> None:
    words = ["train", "trainer.max_epochs=1000", "hardware=cpu", "--json"]
    training = subprocess.Popen(
        [sys.executable, "-m", "cnnctl", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert training.stderr is not None
    while not training.stderr.readline().startswith("epoch "):
        assert training.poll() is None
    training.send_signal(signal.SIGINT)
    out, err = training.communicate(timeout=60)
    assert training.returncode == 130
    (run,) = folders()
    (said,) = [line for line in err.splitlines() if not line.startswith("epoch")]
    hint = f"go on with: cnnctl train --resume {run}"
    assert re.fullmatch(rf"cnnctl: interrupted after step \d+ \({hint}\)", said)
    error = json.loads(out)["error"]
    assert (error["kind"], error["hint"]) == ("interrupted", hint)
    assert not (run / "result.json").exists()
    assert weights.read(run / "checkpoints" / "last.ckpt").epoch >= 0


def test_two_processes_train_one_run_and_measure_each_image_once(cnnctl, process) -> None:
    words = ["trainer.max_epochs=1", "hardware=cpu", "hardware.devices=2", "--json"]
    outcome = process("train", *words)
    assert outcome.code == 0
    result = outcome.document["result"]
    assert folders() == [Path(result["run"])]
    assert (result["steps"], result["epochs"]) == (10, 1)
    assert result["images_per_second"] > 0
    assert outcome.err.count("epoch 1/1") == 1
    alone = cnnctl("evaluate", result["run"], "--json").document["result"]
    assert alone["n"] == 359
    figures = {name: alone["metrics"][name] for name in result["test"]}
    assert figures == pytest.approx(result["test"], abs=1e-6)
    assert round(result["test"]["top1"] * 359, 6) % 1 == 0
