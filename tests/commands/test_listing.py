from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cnnctl.commands import listing

CONFIG = "model: {name: lenet5}\ndata: {name: digits}\nseed: 3\n"
RESULT = {"epochs": 2, "val": {"top1": 0.5}, "test": {"top1": 0.25}}
SPLITS = ("val", "test")
MODEL = {
    "name": str, "family": str, "year": int, "paper": str, "params": int, "macs": int,
    "input": list, "classes": int,
}  # fmt: skip


def make_run(name: str, result: dict[str, Any] | None, outputs: str = "outputs") -> None:
    folder = Path(outputs, "train", name)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))


def test_models_have_the_keys_of_the_contract(cnnctl) -> None:
    outcome = cnnctl("list", "models", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.document["command"] == "list"
    models = outcome.document["result"]["models"]
    for model in models:
        assert {name: type(value) for name, value in model.items()} == MODEL
        assert all(type(size) is int for size in model["input"])
    lenet = next(model for model in models if model["name"] == "lenet5")
    assert (lenet["params"], lenet["macs"], lenet["input"]) == (61706, 416520, [1, 32, 32])
    resnets = [model["name"] for model in models if re.fullmatch(r"resnet\d+", model["name"])]
    assert resnets == [f"resnet{n}" for n in (18, 20, 32, 34, 44, 50, 56, 101, 110, 152, 1202)]
    assert models[0]["name"] == "alexnet"


def test_a_net_of_the_user_has_no_generated_costs(cnnctl) -> None:
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/mynet.yaml").write_text("name: mynet\nfamily: mlp\nyear: 2026\npaper: none\n")
    words = ("list", "models", "--config-dir", "mine")
    models = cnnctl(*words, "--json").document["result"]["models"]
    mynet = next(model for model in models if model["name"] == "mynet")
    assert (mynet["params"], mynet["macs"], mynet["year"]) == (None, None, 2026)
    assert "mynet" in cnnctl(*words).out
    assert "mynet" not in cnnctl("list", "models").out


@pytest.mark.parametrize("what", [name for name in listing.WHAT if name not in ("models", "runs")])
def test_every_other_list_has_names_and_says_what_they_are(cnnctl, what: str) -> None:
    document = cnnctl("list", what, "--json").document
    assert list(document["result"]) == [what]
    rows = document["result"][what]
    assert rows
    out = cnnctl("list", what).out
    for row in rows:
        assert row["name"] in out
        assert row["source" if what == "data" else "about"]


def test_runs_are_listed_oldest_first_finished_or_not(cnnctl) -> None:
    make_run("2026-01-02_00-00-00_lenet5_digits_0000", RESULT)
    make_run("2026-01-01_00-00-00_lenet5_digits_ffff", None)
    make_run("2026-01-03_00-00-00_lenet5_digits_1111", {**RESULT, "test": None})
    common = {"model": "lenet5", "data": "digits", "seed": 3}
    done = {**common, "state": "finished", "epochs": 2, "val_top1": 0.5}
    unfinished = {"state": "unfinished", "epochs": None, "val_top1": None, "test_top1": None}
    others = dict.fromkeys(f"{split}_{name}" for name in ("miou", "explained") for split in SPLITS)
    assert cnnctl("list", "runs", "--json").document["result"]["runs"] == [
        {"run": "2026-01-01_00-00-00_lenet5_digits_ffff", **common, **unfinished, **others},
        {"run": "2026-01-02_00-00-00_lenet5_digits_0000", **done, "test_top1": 0.25, **others},
        {"run": "2026-01-03_00-00-00_lenet5_digits_1111", **done, "test_top1": None, **others},
    ]
    lines = cnnctl("list", "runs").out.splitlines()
    assert [" ".join(line.split()[4:]) for line in lines[2:]] == [
        "unfinished – – – –", "finished 2 top1 50.00 % 25.00 %", "finished 2 top1 50.00 % –",
    ]  # fmt: skip


def test_each_run_has_the_figure_of_its_task(cnnctl) -> None:
    make_run("2026-01-01_00-00-00_lenet5_digits_ffff", RESULT)
    masks = {"loss": 1.0, "miou": 0.75, "dice": 0.8, "pixel_accuracy": 0.9}
    make_run("2026-01-02_00-00-00_unet_shapes_ffff", {"epochs": 9, "val": masks, "test": masks})
    remade = {"loss": 1.0, "mse": 0.5, "psnr": 3.0, "explained": -0.5}
    make_run("2026-01-03_00-00-00_ae_digits_ffff", {"epochs": 9, "val": remade, "test": None})
    keys = [f"{split}_{name}" for name in ("top1", "miou", "explained") for split in SPLITS]
    found = cnnctl("list", "runs", "--json").document["result"]["runs"]
    assert [[row[key] for key in keys] for row in found] == [
        [0.5, 0.25, None, None, None, None], [None, None, 0.75, 0.75, None, None],
        [None, None, None, None, -0.5, None],
    ]  # fmt: skip
    head, _, *lines = cnnctl("list", "runs").out.splitlines()
    assert head.split()[-3:] == ["figure", "val", "test"]
    assert [" ".join(line.split()[5:]) for line in lines] == [
        "2 top1 50.00 % 25.00 %", "9 miou 75.00 % 75.00 %", "9 explained -50.00 % –",
    ]  # fmt: skip


def test_runs_of_another_folder_and_no_runs(cnnctl) -> None:
    make_run("2026-01-01_00-00-00_lenet5_digits_ffff", None, "other")
    assert cnnctl("list", "runs") == (0, "no runs yet\n", "")
    assert cnnctl("list", "runs", "--json").document["result"] == {"runs": []}
    for outputs in ("outputs=other", f"outputs={Path('other').resolve()}"):
        assert len(cnnctl("list", "runs", outputs, "--json").document["result"]["runs"]) == 1


def test_a_damaged_run_is_named(cnnctl) -> None:
    make_run("2026-01-01_00-00-00_lenet5_digits_ffff", None)
    file = Path("outputs/train/2026-01-01_00-00-00_lenet5_digits_ffff/config.yaml")
    file.write_text("a: [\n")
    code, out, err = cnnctl("list", "runs")
    assert (code, out) == (2, "")
    assert err == f"cnnctl: error: {file}:2: not valid YAML\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["models", "outputs=x"], "'outputs=x' has no effect on: cnnctl list models"),
        (["runs", "seed=1"], "'seed=1' has no effect on: cnnctl list runs"),
    ],
)
def test_what_has_no_effect_is_refused(cnnctl, words: list[str], text: str) -> None:
    assert cnnctl("list", *words) == (2, "", f"cnnctl: error: {text}\n")


def test_a_config_dir_that_is_not_there_is_refused(cnnctl) -> None:
    outcome = cnnctl("list", "models", "--config-dir", "nowhere")
    assert outcome == (2, "", "cnnctl: error: --config-dir is not a folder: nowhere\n")


def test_filters_choose_among_the_nets(cnnctl) -> None:
    words = ("list", "models", "--family", "resnet", "--year=2016", "--max-params", "300K")
    models = cnnctl(*words, "--json").document["result"]["models"]
    assert [model["name"] for model in models] == ["plain20", "resnet20"]
    assert cnnctl("list", "models", "--max-params", "1").out == "no such models\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("models", "--family", "vg"), "no net is of a family 'vg' (did you mean 'vgg'?)"),
        (("models", "--year", "x"), "--year takes a year or two, 2015 or 2012-2016, got 'x'"),
        (("data", "--max-params", "5M"), "--max-params has no effect on: cnnctl list data"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(cnnctl, words, text) -> None:
    assert cnnctl("list", *words) == (2, "", f"cnnctl: error: {text}\n")
