from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnctl import weights
from cnnctl.cli import main

Result = dict[str, Any]
LENET = ("model=lenet5", "data=digits", "hardware=cpu")
ONLY = "change data, hardware, outputs only"


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


@pytest.fixture
def evaluate(cnnctl):
    """The result of an evaluation of which nothing but result.json is kept, here."""

    def run(*words: str) -> Result:
        given = ("outputs=here", "predictions=none", "mistakes=0", "--json")
        outcome = cnnctl("evaluate", *words, *given)
        assert outcome.code == 0, outcome.err
        return outcome.document["result"]

    return run


def kept(run: Path) -> Result:
    return json.loads((run / "result.json").read_text())


def same(found: Result, wanted: Result) -> None:
    """The figures that training has found, too."""
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_the_document_of_an_evaluation(cnnctl, lenet: Path) -> None:
    outcome = cnnctl("evaluate", str(lenet), "outputs=here", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.document["command"] == "evaluate"
    result = outcome.document["result"]
    assert (result["target"], result["run"]) == (str(lenet), str(lenet))
    assert result["checkpoint"] == str(lenet / "checkpoints" / "best.ckpt")
    assert (result["split"], result["n"]) == ("test", 359)
    assert result["way"] == {"crops": "center", "scales": [], "flip": False}
    same(result["metrics"], kept(lenet)["test"])
    assert result["weights_sha256"] == kept(lenet)["best"]["weights_sha256"]
    assert 0 < result["seconds"] < 600
    assert result["images_per_second"] == pytest.approx(359 / result["seconds"])
    classes = result["per_class"]
    assert [row["class"] for row in classes] == list("0123456789")
    hits = sum(row["recall"] * row["n"] for row in classes)
    assert hits / 359 == pytest.approx(result["metrics"]["top1"])
    assert sum(map(sum, result["confusion"])) == sum(row["n"] for row in classes) == 359
    assert [sum(row) for row in result["confusion"]] == [row["n"] for row in classes]
    assert set(result["intervals"]) == set(result["metrics"])


def test_the_temperature_is_fitted_on_val(evaluate, lenet: Path) -> None:
    told = evaluate(str(lenet))["calibration"]
    assert told["fitted_on"] == {"split": "val", "n": 179}
    assert told["after"]["loss"] < told["loss"]
    assert told["reason"] is None
    told = evaluate(str(lenet), "split=val")["calibration"]
    assert (told["temperature"], told["after"]) == (None, None)
    assert told["reason"] == "it would be fitted on val and judged by the same images"


@pytest.mark.parametrize("batch_size", [64, 7])
def test_a_split_has_the_figures_that_training_found(
    evaluate, lenet: Path, batch_size: int
) -> None:
    words = ["split=val", "checkpoint=last", f"data.batch_size={batch_size}"]
    result = evaluate(str(lenet), *words)
    assert (result["split"], result["n"]) == ("val", 179)
    same(result["metrics"], {name: kept(lenet)["val"][name] for name in ("top1", "top5", "loss")})
    assert result["checkpoint"].endswith("last.ckpt")


def test_the_training_images_can_be_measured(evaluate, lenet: Path) -> None:
    assert evaluate(str(lenet), "split=train")["n"] == 1259


def test_a_run_is_named_by_folder_name_latest_or_checkpoint(cnnctl, lenet: Path) -> None:
    outputs = f"outputs={lenet.parent.parent}"
    file = str(lenet / "checkpoints" / "best.ckpt")
    for words in ((str(lenet),), (lenet.name, outputs), ("latest", outputs), (file,)):
        outcome = cnnctl("evaluate", *words, "mistakes=0", "--json")
        result = outcome.document["result"]
        assert (result["checkpoint"], outcome.err) == (file, "")
        same(result["metrics"], kept(lenet)["test"])
        assert Path(result["folder"]).parent == lenet.parent.parent / "evaluate"
    shutil.copy(file, "epoch=0-step=20.ckpt")
    words = (str(lenet), "checkpoint=epoch=0-step=20.ckpt", "outputs=here")
    assert cnnctl("evaluate", *words, "--json").document["result"]["n"] == 359
    last = cnnctl("evaluate", "epoch=0-step=20.ckpt", "outputs=here", "--json")
    assert last.document["result"]["run"] == "epoch=0-step=20.ckpt"


def test_weights_alone_are_measured_with_a_net_and_data(evaluate, lenet: Path) -> None:
    saved = weights.read(lenet / "checkpoints" / "best.ckpt")
    torch.save(saved.weights, "alone.pth")
    result = evaluate("alone.pth", *LENET)
    same(result["metrics"], kept(lenet)["test"])
    assert result["weights_sha256"] == kept(lenet)["best"]["weights_sha256"]
    assert result["run"] == result["checkpoint"] == "alone.pth"


def test_the_run_itself_is_left_as_it_is(cnnctl, lenet: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in lenet.rglob("*")}
    assert cnnctl("evaluate", str(lenet), "outputs=here").code == 0
    assert {file: file.stat().st_mtime_ns for file in lenet.rglob("*")} == before
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["here", "home"]
    assert cnnctl("list", "runs", "outputs=here").out == "no runs yet\n"


def test_what_is_shown_is_what_is_kept(cnnctl, lenet: Path) -> None:
    shown = cnnctl("evaluate", str(lenet), "outputs=here").out
    (folder,) = Path("here/evaluate").iterdir()
    assert f"folder      {folder}\n" in shown
    assert f"{100 * kept(folder)['metrics']['top1']:.2f} %" in shown
    with (folder / "predictions.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    right = sum(row["label"] == row["prediction"] for row in rows)
    assert right / len(rows) == kept(folder)["metrics"]["top1"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["optimizer.lr=1"], f"'optimizer.lr=1' has no effect here: the run has its own optimizer ({ONLY})"),  # noqa: E501 - the text in one piece
        (["model=mlp"], f"'model=mlp' has no effect here: the run has its own model ({ONLY})"),
        (["splitt=val"], "unknown key 'splitt' (did you mean 'split'?)"),
        (["split=x"], "split must be one of train, val, test, got 'x'"),
        (["mistakes=101"], "mistakes must be at most 100, got 101"),
        (["robustness=shfit"], "each of robustness must be one of shift, scale, rotate, deform, hue, noise, blur, occlusion, got 'shfit' (did you mean 'shift'?)"),  # noqa: E501 - as above
        (["data.batchsize=1"], "unknown key 'data.batchsize' (did you mean 'data.batch_size'?)"),
        (["checkpoint=nowhere.ckpt"], "no checkpoint at nowhere.ckpt"),
        (["checkpoint=short.ckpt"], "short.ckpt cannot be read: it is truncated, or no checkpoint (use another file)"),  # noqa: E501 - as above
        (["hardware.devices=2"], "evaluate uses one device, got 2 (hardware.devices=1)"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused(cnnctl, lenet: Path, words: list[str], text: str) -> None:
    whole = (lenet / "checkpoints" / "best.ckpt").read_bytes()
    Path("short.ckpt").write_bytes(whole[: len(whole) // 2])
    words = [str(lenet), "outputs=here", *words]
    assert cnnctl("evaluate", *words) == (2, "", f"cnnctl: error: {text}\n")
    assert cnnctl("evaluate", *words, "--json").document["ok"] is False
    assert not Path("here").exists()


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


class Trap:
    """A pickle that would write a file when it is read."""

    def __reduce__(self):
        return Path.touch, (Path("trapped"),)


@pytest.mark.parametrize("words", [(), LENET])
@pytest.mark.parametrize("name", ["net.ckpt", "net.pt", "net.pth"])
def test_a_checkpoint_that_would_run_code_is_refused_and_nothing_runs(
    cnnctl, name: str, words: tuple[str, ...]
) -> None:
    torch.save({"state_dict": {}, "cnnctl": Trap()}, name)
    code, out, err = cnnctl("evaluate", name, *words)
    text = f"{name} holds Python objects, which could run code; they are not read"
    text += " (save the tensors alone: torch.save(net.state_dict(), …))"
    assert (code, out, err) == (2, "", f"cnnctl: error: {text}\n")
    assert not Path("trapped").exists()
    torch.load(name, weights_only=False)  # the trap would have worked
    assert Path("trapped").exists()


def test_a_checkpoint_of_another_net_is_refused(cnnctl, lenet: Path, mlp: Path) -> None:
    file = mlp / "checkpoints" / "best.ckpt"
    outcome = cnnctl("evaluate", str(lenet), f"checkpoint={file}", "--json")
    error = outcome.document["error"]
    text = f"{file} holds another network (mlp): c1.weight is missing, c1.bias is missing"
    assert (outcome.code, error["kind"]) == (2, "checkpoint")
    assert error["message"] == f"{text}, c3.weight is missing and 8 more"
    assert cnnctl("evaluate", str(mlp), f"checkpoint={file}").code == 0


def test_a_net_that_gives_no_numbers_has_no_figures(cnnctl, lenet: Path) -> None:
    saved = weights.read(lenet / "checkpoints" / "best.ckpt")
    broken = {name: tensor * float("nan") for name, tensor in saved.weights.items()}
    torch.save(broken, "broken.pth")
    code, _, err = cnnctl("evaluate", "broken.pth", *LENET)
    assert (code, "no numbers for 359 of 359 images" in err) == (1, True)
    assert not Path("outputs").exists()
