from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cnnctl import weights
from cnnctl.cli import main

Result = dict[str, Any]


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of LeNet-5 on digits, one epoch long."""
    return trained(tmp_path_factory, "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of another net."""
    return trained(tmp_path_factory, "model=mlp", "trainer.max_steps=2")


def trained(tmp_path_factory: pytest.TempPathFactory, *words: str) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    code = main(["train", *words, "hardware=cpu", "progress=none", f"outputs={outputs}"])
    assert code == 0
    (run,) = outputs.glob("train/*")
    return run


def kept(run: Path) -> Result:
    return json.loads((run / "result.json").read_text())


def test_the_document_of_an_evaluation(cnnctl, lenet: Path) -> None:
    outcome = cnnctl("evaluate", str(lenet), "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.document["command"] == "evaluate"
    result = outcome.document["result"]
    assert result["run"] == str(lenet)
    assert result["checkpoint"] == str(lenet / "checkpoints" / "best.ckpt")
    assert (result["split"], result["n"]) == ("test", 359)
    assert set(result["metrics"]) >= {"top1", "top5", "loss"}
    assert result["metrics"] == pytest.approx(kept(lenet)["test"], abs=1e-6)
    assert result["weights_sha256"] == kept(lenet)["best"]["weights_sha256"]
    assert 0 < result["seconds"] < 600
    classes = result["per_class"]
    assert [row["class"] for row in classes] == list("0123456789")
    assert sum(row["n"] for row in classes) == 359
    hits = sum(row["recall"] * row["n"] for row in classes)
    assert hits / 359 == pytest.approx(result["metrics"]["top1"])
    for row in classes:
        assert list(row) == ["class", "n", "recall", "precision", "f1"]
        assert row["precision"] is None or 0 <= row["precision"] <= 1


@pytest.mark.parametrize("batch_size", [64, 7])
def test_a_split_has_the_figures_that_training_found(cnnctl, lenet: Path, batch_size: int) -> None:
    words = ["split=val", "checkpoint=last", f"data.batch_size={batch_size}", "--json"]
    result = cnnctl("evaluate", str(lenet), *words).document["result"]
    assert (result["split"], result["n"]) == ("val", 179)
    for name in ("top1", "top5", "loss"):
        assert result["metrics"][name] == pytest.approx(kept(lenet)["val"][name], abs=1e-6)
    assert result["checkpoint"].endswith("last.ckpt")


def test_the_training_images_can_be_measured(cnnctl, lenet: Path) -> None:
    result = cnnctl("evaluate", str(lenet), "split=train", "--json").document["result"]
    assert result["n"] == 1259


def test_a_run_is_named_by_folder_name_latest_or_checkpoint(cnnctl, lenet: Path) -> None:
    outputs = f"outputs={lenet.parent.parent}"
    file = str(lenet / "checkpoints" / "best.ckpt")
    for words in ((str(lenet),), (lenet.name, outputs), ("latest", outputs), (file,)):
        result = cnnctl("evaluate", *words, "--json").document["result"]
        assert result["checkpoint"] == file
        assert result["metrics"]["top1"] == pytest.approx(kept(lenet)["test"]["top1"])
    shutil.copy(file, "epoch=0-step=20.ckpt")
    words = (str(lenet), "checkpoint=epoch=0-step=20.ckpt")
    assert cnnctl("evaluate", *words, "--json").document["result"]["n"] == 359
    assert cnnctl("evaluate", "epoch=0-step=20.ckpt", "--json").document["result"]["n"] == 359


def test_nothing_is_written(cnnctl, lenet: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in lenet.rglob("*")}
    assert cnnctl("evaluate", str(lenet)).code == 0
    assert {file: file.stat().st_mtime_ns for file in lenet.rglob("*")} == before
    assert [path.name for path in Path.cwd().iterdir()] == ["home"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["optimizer.lr=1"], "'optimizer.lr=1' has no effect on an evaluation: the run has its own optimizer (change data, hardware, outputs only)"),  # noqa: E501 - the text in one piece
        (["model=mlp"], "'model=mlp' has no effect on an evaluation: the run has its own model (change data, hardware, outputs only)"),  # noqa: E501 - the text in one piece
        (["splitt=val"], "unknown key 'splitt' (did you mean 'split'?)"),
        (["split=x"], "split must be one of train, val, test, got 'x'"),
        (["data.batchsize=1"], "unknown key 'data.batchsize' (did you mean 'data.batch_size'?)"),
        (["checkpoint=nowhere.ckpt"], "no checkpoint at nowhere.ckpt"),
        (["checkpoint=short.ckpt"], "short.ckpt cannot be read: it is truncated, or no checkpoint (use another file)"),  # noqa: E501 - the text in one piece
        (["hardware.devices=2"], "evaluate uses one device, got 2 (hardware.devices=1)"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused(cnnctl, lenet: Path, words: list[str], text: str) -> None:
    whole = (lenet / "checkpoints" / "best.ckpt").read_bytes()
    Path("short.ckpt").write_bytes(whole[: len(whole) // 2])
    assert cnnctl("evaluate", str(lenet), *words) == (2, "", f"cnnctl: error: {text}\n")
    assert cnnctl("evaluate", str(lenet), *words, "--json").document["ok"] is False


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("empty", "empty is no run: it has no config.yaml (see runs with: cnnctl list runs)"),
        ("nowhere", "no run 'nowhere' in outputs (see them with: cnnctl list runs)"),
        ("latest", "no finished run in outputs (make one with: cnnctl train)"),
        ("text.ckpt", "text.ckpt cannot be read: it is truncated, or no checkpoint (use another file)"),  # noqa: E501 - the text in one piece
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused(cnnctl, target: str, text: str) -> None:
    Path("empty").mkdir()
    Path("text.ckpt").write_text("text")
    assert cnnctl("evaluate", target) == (2, "", f"cnnctl: error: {text}\n")


def test_a_checkpoint_of_another_net_is_refused(cnnctl, lenet: Path, mlp: Path) -> None:
    file = mlp / "checkpoints" / "best.ckpt"
    outcome = cnnctl("evaluate", str(lenet), f"checkpoint={file}", "--json")
    error = outcome.document["error"]
    text = f"{file} holds another network (mlp): c1.weight is missing, c1.bias is missing"
    assert (outcome.code, error["kind"]) == (2, "checkpoint")
    assert error["message"] == f"{text}, c3.weight is missing and 8 more"
    assert cnnctl("evaluate", str(mlp), f"checkpoint={file}").code == 0


def test_other_images_with_other_classes_are_refused(cnnctl, lenet: Path, photos) -> None:
    root = photos({"train": {"cat": 4, "dog": 4}, "test": {"cat": 2, "dog": 2}})
    words = ["data=folder", f"data.root={root}", "data.channels=1", "data.size=32"]
    words += ["data.mean=[0.5]", "data.std=[0.5]"]
    text = "the net knows 10 classes (0, 1, 2, 3, 4, …), the data has 2 (cat, dog, …)"
    outcome = cnnctl("evaluate", str(lenet), *words)
    hint = "evaluate on data with the same classes"
    assert outcome == (2, "", f"cnnctl: error: {text} ({hint})\n")


def test_images_of_ones_own_are_measured_and_a_missing_test_split_is_told(cnnctl, photos) -> None:
    root = photos({"train": {"cat": 8, "dog": 8}})
    words = ["data=folder", f"data.root={root}", "trainer.max_steps=2", "hardware=cpu"]
    run = cnnctl("train", *words, "progress=none", "--json").document["result"]
    assert run["test"] is None
    assert run["val"]["top5"] is None
    text = "folder has no split 'test', only train, val"
    assert cnnctl("evaluate", "latest", "split=test") == (2, "", f"cnnctl: error: {text}\n")
    other = photos({"train": {"cat": 8, "dog": 8}, "test": {"cat": 3, "dog": 2}}, name="other")
    result = cnnctl("evaluate", "latest", f"data.root={other}", "--json").document["result"]
    assert [(row["class"], row["n"]) for row in result["per_class"]] == [("cat", 3), ("dog", 2)]
    assert weights.read(Path(result["checkpoint"])).classes == ("cat", "dog")


def test_a_checkpoint_beside_a_checkpoint_file_has_no_effect_and_is_refused(
    cnnctl, lenet: Path
) -> None:
    file = lenet / "checkpoints" / "best.ckpt"
    text = f"cnnctl: error: 'checkpoint=last' has no effect: {file} is a checkpoint\n"
    assert cnnctl("evaluate", str(file), "checkpoint=last") == (2, "", text)
