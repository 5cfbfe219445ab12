"""What TAB offers behind `cnnctl audit` and `cnnctl conv`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnctl.commands import conv
from cnnctl.commands.completion import candidates
from cnnctl.config import audit, paths
from cnnctl.config.images import DATA
from cnnctl.config.masks import MASKS

DENSE = ["densenet121", "densenet161", "densenet169", "densenet201", "densenet_bc100_12"]
CONV = [
    "bias=", "dilation=", "filters=", "groups=", "kernel=", "output_padding=", "padding=", "pool=",
    "reduce=", "stride=", "transposed=",
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "current", "found"),
    [
        (["audit"], "vgg16", ["vgg16", "vgg16_bn"]),
        (["audit", "lenet5"], "vgg16_", ["vgg16_bn"]),
        (["audit"], "cla", ["claims", "classes="]),
        (["audit", "vgg16"], "cla", ["classes="]),
        (["audit", "claims"], "dens", DENSE),
        (["audit", "claims"], "batch", []),
        (["audit", "vgg16"], "--a", ["--against", "--all"]),
        (["audit"], "--pl", ["--plot"]),
        (["audit", "vgg16", "--plot"], "", []),
        (["audit", "--strict"], "d", ["data=", "deeplabv3_resnet50", *DENSE, "detail="]),
        (["audit"], "mod", ["model="]),
        (["audit"], "sch", []),
        (["audit"], "model=vgg_a", ["model=vgg_a", "model=vgg_a_lrn"]),
        (["audit", "vgg16"], "data=", [f"data={name}" for name in sorted({**DATA, **MASKS})]),
        (["audit"], "optimizer=a", ["optimizer=adam", "optimizer=adamw"]),
        (["audit"], "memory=s", ["memory=saved", "memory=slides"]),
        (["audit"], "detail=", ["detail=all", "detail=blocks", "detail=layers"]),
        (["audit"], "channels_last=", ["channels_last=false", "channels_last=true"]),
        (["audit"], "precision=bf", ["precision=bf16-mixed", "precision=bf16-true"]),
        (["audit"], "batch_size=", []),
        (["audit", "optimizer=sgd"], "optimizer.m", ["optimizer.momentum="]),
        (["audit"], "optimizer.m", []),
        (["audit", "resnet18"], "model.sm", ["model.small_input="]),
        (["audit", "vgg16", "alexnet"], "model.con", ["model.convs="]),
        (["audit", "vgg16"], "model.con", []),
        (["audit"], "trainer.", []),
    ],
)
def test_behind_audit(before: list[str], current: str, found: list[str]) -> None:
    assert candidates(before, current) == found


@pytest.mark.parametrize(
    ("before", "current", "found"),
    [
        (["conv"], "", CONV),
        (["conv", "7x7"], "p", ["padding=", "pool="]),
        (["conv", "7x7"], "padding=", ["padding=full", "padding=same", "padding=valid"]),
        (["conv", "7x7"], "pool=", ["pool=avg", "pool=max"]),
        (["conv", "7x7"], "transposed=t", ["transposed=true"]),
        (["conv"], "kernel=", []),
        (["conv"], "--st", ["--stack"]),
        (["conv", "--stack"], "", []),
    ],
)
def test_behind_conv(before: list[str], current: str, found: list[str]) -> None:
    assert candidates(before, current) == found


def test_all_that_an_audit_takes_is_offered_at_once() -> None:
    nets, keys = paths.config_files()["model"], audit.choices()
    assert candidates(["audit"], "") == sorted([*nets, "claims", *(f"{key}=" for key in keys)])
    assert len(nets) == 95


def test_every_key_of_conv_is_offered_with_all_its_words() -> None:
    assert candidates(["conv"], "") == sorted(f"{key}=" for key in conv.KEYS)
    for key, words in conv.WORDS.items():
        assert candidates(["conv"], f"{key}=") == sorted(f"{key}={word}" for word in words)


def test_runs_are_offered_to_be_audited() -> None:
    run = Path("outputs/train/2026-01-01_a")
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    assert candidates(["audit"], "o") == ["optimizer=", str(run)]
    assert candidates(["audit", "claims"], "o") == []


def test_nets_of_the_user_are_offered_and_their_keys_too() -> None:
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mine.yaml").write_text("name: mine\nbrightness: 3\n")
    assert candidates(["audit"], "min") == ["mine"]
    assert candidates(["audit", "mine"], "model.b") == ["model.brightness="]


def test_each_verb_keeps_keys_of_its_own() -> None:
    assert candidates(["audit"], "optimizer.be") == ["optimizer.betas="]
    assert candidates(["train"], "trainer.cl") == ["trainer.clip="]
    folder = Path.home() / ".cache" / "cnnctl"
    assert sorted(file.name for file in folder.iterdir()) == ["keys_audit.json", "keys_train.json"]
    assert "budget" in json.loads((folder / "keys_audit.json").read_text())["keys"]
    assert "budget" not in json.loads((folder / "keys_train.json").read_text())["keys"]


def test_keys_of_the_audit_come_from_the_cache_the_second_time() -> None:
    candidates(["audit", "vgg16"], "model.d")
    cache = Path.home() / ".cache" / "cnnctl" / "keys_audit.json"
    kept = json.loads(cache.read_text())
    cache.write_text(json.dumps(kept | {"keys": ["model.dolphin"]}))
    assert candidates(["audit", "vgg16"], "model.d") == ["model.dolphin="]
    assert candidates(["audit", "vgg11"], "model.d") == ["model.dropout="]


@pytest.mark.parametrize("line", ["cnnctl audit vgg1", "cnnctl audit detail=", "cnnctl conv 7x7 p"])
def test_words_and_names_need_neither_hydra_nor_torch(line: str) -> None:
    code = (
        "import sys; from cnnctl.commands.completion import complete; complete();"
        "sys.exit(bool({'torch', 'hydra', 'omegaconf', 'rich', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "COMP_LINE": line}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) >= 2
