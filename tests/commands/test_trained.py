from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from targets import CHANGE, DIGITS, found, logits, refused, short_run

from cnnctl import runs
from cnnctl.cli import parse
from cnnctl.commands import trained
from cnnctl.config import compose, verbs
from cnnctl.errors import CheckpointError, ConfigError, DataError, UsageError, UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return short_run(tmp_path_factory.mktemp("outputs"))


def test_a_run_is_named_by_its_folder_its_name_or_latest(run: Path) -> None:
    outputs = f"outputs={run.parents[1]}"
    for words in ((str(run),), (run.name, outputs), ("latest", outputs), (f"{run}/",)):
        one = found(*words)
        assert one.file == run / "checkpoints" / "best.ckpt"
        assert one.folder is not None
        assert (one.folder.resolve(), one.name) == (run.resolve(), str(run))
        assert one.target == words[0]
        assert one.saved is not None
        assert (one.saved.classes, one.manifest) == (DIGITS, None)
        assert trained.classes(one) == DIGITS
        assert (one.train.data.name, one.spec.name) == ("digits", "lenet5")


def test_outputs_may_be_quoted(run: Path) -> None:
    shutil.copytree(run, "my runs (old)/train/one")
    assert found("latest", "outputs=my runs (old)").folder == Path("my runs (old)/train/one")


def test_the_checkpoint_of_a_run_is_best_last_or_a_file(run: Path) -> None:
    assert found(str(run), "checkpoint=last").file == run / "checkpoints" / "last.ckpt"
    odd = Path("epoch=1-step=3 (1).ckpt")
    shutil.copy(run / "checkpoints" / "last.ckpt", odd)
    assert found(str(run), f"checkpoint={odd}").file == odd
    shutil.copy(odd, Path("home/x.ckpt"))
    assert found(str(run), "checkpoint=~/x.ckpt").file == Path.home() / "x.ckpt"
    assert refused(CheckpointError, str(run), "checkpoint=x.ckpt") == "no checkpoint at x.ckpt"
    gone = Path(shutil.copytree(run, "gone"))
    (gone / "checkpoints" / "best.ckpt").unlink()
    assert refused(CheckpointError, "gone") == "no checkpoint at gone/checkpoints/best.ckpt"


def test_a_checkpoint_is_enough(run: Path) -> None:
    shutil.copy(run / "checkpoints" / "last.ckpt", "x.ckpt")
    one = found("x.ckpt")
    assert (one.file, one.folder, one.name) == (Path("x.ckpt"), None, "x.ckpt")
    assert one.config["data"]["name"] == "digits"
    whole = found(str(run), "checkpoint=last")
    assert torch.equal(logits(one), logits(whole))
    text = "'checkpoint=best' has no effect: x.ckpt is a file (leave it out)"
    assert refused(ConfigError, "x.ckpt", "checkpoint=best") == text


def test_a_file_below_home_is_found(run: Path) -> None:
    shutil.copy(run / "checkpoints" / "last.ckpt", "home/x.ckpt")
    assert found("~/x.ckpt").file == Path.home() / "x.ckpt"


def test_what_may_be_changed_of_a_run_is_changed(run: Path) -> None:
    one = found(str(run), "data.batch_size=7", "hardware.precision=bf16-mixed")
    assert (one.train.data.batch_size, one.train.hardware.precision) == (7, "bf16-mixed")
    assert one.config["data"]["batch_size"] == 7
    photos = found(str(run), "data=folder", "data.root=home", "data.size=32", "data.channels=1",
                   "data.mean=[0.5]", "data.std=[0.5]")  # fmt: skip
    assert photos.train.data.name == "folder"


def test_however_many_devices_trained_it_one_is_asked(run: Path) -> None:
    copy = Path(shutil.copytree(run, "copy"))
    config = runs.read_config(copy / runs.CONFIG)
    many = {"devices": 4, "num_nodes": 2, "strategy": "ddp", "sync_batchnorm": True}
    runs.write_config(copy, {**config, "hardware": {**config["hardware"], **many}})
    hardware = found("copy").train.hardware
    assert (hardware.devices, hardware.num_nodes, hardware.strategy) == (1, 1, "auto")
    assert trained.device(found("copy"), "evaluate").world == 1
    several = found("copy", "hardware.devices=2", "hardware.accelerator=cpu")
    with pytest.raises(UsageError) as caught:
        trained.device(several, "evaluate")
    assert str(caught.value) == "evaluate uses one device, got 2 (hardware.devices=1)"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["optimizer.lr=1"], f"'optimizer.lr=1' has no effect here: the run has its own optimizer {CHANGE}"),  # noqa: E501 - the text in one piece
        (["model=mlp"], f"'model=mlp' has no effect here: the run has its own model {CHANGE}"),
        (["seed=1"], f"'seed=1' has no effect here: the run has its own seed {CHANGE}"),
        (["splitt=val"], "unknown key 'splitt' (did you mean 'split'?)"),
        (["split=tests"], "split must be one of train, val, test, got 'tests' (did you mean 'test'?)"),  # noqa: E501 - as above
        (["data.batch_size=0"], "data.batch_size must be at least 1, got 0"),
        (["data.bach_size=1"], "unknown key 'data.bach_size' (did you mean 'data.batch_size'?)"),
        (["scales=0,224"], "scales must be at least 1, got [0, 224]"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(run: Path, words: list[str], text: str) -> None:
    assert refused(ConfigError, str(run), *words) == text


def test_several_mistakes_are_told_at_once(run: Path) -> None:
    words = ("optimizer.lr=1", "splitt=val", "crops=all")
    lines = refused(ConfigError, str(run), *words).splitlines()
    assert len(lines) == 3
    assert [word.partition("=")[0] in line for word, line in zip(
        ("splitt", "optimizer.lr", "crops"), lines, strict=True
    )] == [True] * 3  # fmt: skip


def test_lists_need_no_brackets(run: Path) -> None:
    ask = trained.asked(
        parse(["evaluate", str(run), "scales=224,256", "robustness=shift", "mistakes=1"]),
        verbs.Evaluate,
    )
    assert ask.own == ["scales=[224,256]", "robustness=[shift]", "mistakes=1"]
    with compose.opened():
        own = trained.keys(verbs.Evaluate, ask)
    assert (own.scales, own.robustness) == ((224, 256), ("shift",))
    for word in ("scales=[224,256]", "scales=null", "scales='[1]'"):
        ask = trained.asked(parse(["evaluate", "x", word]), verbs.Evaluate)
        assert ask.own == [word]


def test_what_each_verb_may_change_stands_in_one_place(run: Path) -> None:
    shown = "(change hardware, outputs, data.batch_size only)"
    text = f"'data.size=9' has no effect here: the run has its own data.size {shown}"
    assert refused(ConfigError, str(run), "data.size=9", verb="predict") == text
    assert found(str(run), "data.batch_size=9", verb="predict").train.data.batch_size == 9
    ask = trained.asked(parse(["predict", str(run), "data.size=9"]), verbs.Predict, ("data",))
    assert (ask.of_run, ask.unknown) == (["data.size=9"], [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.ckpt", "no file x.ckpt"),
        ("x.pth", "no file x.pth"),
        ("x.onnx", "no file x.onnx"),
        ("x.safetensors", "no file x.safetensors"),
        ("x.weights", "no run 'x.weights' in outputs (see them with: cnnctl list runs)"),
        ("latest", "no finished run in outputs (make one with: cnnctl train)"),
        ("home", "home is no run: it has no config.yaml (see runs with: cnnctl list runs)"),
    ],
)
def test_what_is_not_there_is_named(name: str, text: str) -> None:
    assert refused(UserError, name) == text


def test_a_damaged_configuration_is_named(run: Path) -> None:
    copy = Path(shutil.copytree(run, "copy"))
    (copy / runs.CONFIG).write_text("model: [")
    assert refused(UserError, "copy").startswith("copy/config.yaml:1: not valid YAML")
    runs.write_config(copy, {**runs.read_config(run / runs.CONFIG), "seed": "x"})
    assert refused(ConfigError, "copy").startswith("seed must be a whole number")


def test_data_with_other_classes_is_refused_by_whoever_measures(cnnctl, run: Path, photos) -> None:
    root = photos({"train": {"cat": 4, "dog": 4}, "test": {"cat": 2, "dog": 2}})
    words = ["data=folder", f"data.root={root}", "data.channels=1", "data.size=32"]
    outcome = cnnctl("evaluate", str(run), *words, "data.mean=[0.5]", "data.std=[0.5]", "--json")
    assert (outcome.code, outcome.document["error"]["kind"]) == (2, DataError.kind)
    assert json.dumps(outcome.document)
