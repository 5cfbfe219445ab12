from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cnnctl import manifest, nets, weights
from cnnctl.cli import main
from cnnctl.manifest import ENTRY, Manifest
from cnnctl.weights import Checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of LeNet-5 on digits, hardly trained."""
    outputs = tmp_path_factory.mktemp("outputs")
    words = ["trainer.max_steps=5", "hardware=cpu", "progress=none", f"outputs={outputs}"]
    assert main(["train", *words]) == 0
    (found,) = outputs.glob("train/*")
    return found


def said(run: Path, saved: Checkpoint, form: str, *include: str, own_loss: bool = False) -> str:
    """What an export of the run says of itself."""
    data = saved.config["data"]
    return Manifest(
        format=form, model="lenet5", include=include, dynamic_batch=False, precision="fp32",
        quantize=None, classes=saved.classes, channels=data["channels"], size=data["size"],
        mean=tuple(data["mean"]), std=tuple(data["std"]), own_loss=own_loss, run=str(run),
        checkpoint="best", weights_sha256=weights.sha256(saved.weights), versions={},
        config=saved.config,
    ).text()  # fmt: skip


def program(run: Path, include: tuple[str, ...] = (), *, own_loss: bool = False) -> str:
    """An exported program that takes one image; its path."""
    saved = weights.read(run / "checkpoints" / "best.ckpt")
    spec, _ = nets.read_spec(saved.config["model"])
    assert spec is not None
    net = nets.build(spec, num_classes=10, shape=(1, 32, 32)).eval()
    weights.load(net, saved)
    whole = torch.nn.Sequential(net, torch.nn.Softmax(1)) if include else net
    made = torch.export.export(whole, (torch.zeros(1, 1, 32, 32),))
    text = said(run, saved, "torch_export", *include, own_loss=own_loss)
    torch.export.save(made, "net.pt2", extra_files={ENTRY: text})
    assert manifest.read(Path("net.pt2")) is not None
    return "net.pt2"


@pytest.mark.parametrize("include", [(), ("softmax",)])
def test_an_exported_program_has_the_figures_of_its_run(cnnctl, run: Path, include) -> None:
    outcome = cnnctl("evaluate", program(run, include), "outputs=here", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    result, wanted = outcome.document["result"], json.loads((run / "result.json").read_text())
    for name, value in wanted["test"].items():
        assert result["metrics"][name] == pytest.approx(value, abs=1e-5), name
    assert result["run"] == result["checkpoint"] == "net.pt2"
    assert result["weights_sha256"] == wanted["best"]["weights_sha256"]
    assert result["calibration"]["temperature"] > 0
    words = [str(run), "net.pt2", "--compare", "outputs=here", "--json"]
    told = cnnctl("evaluate", *words).document["result"]["comparison"]
    assert (told["difference"], told["p"]) == (0, 1)
    assert abs(told["loss"]["difference"]) < 1e-5


def test_a_loss_that_the_file_does_not_have_is_null(cnnctl, run: Path) -> None:
    words = [program(run, own_loss=True), "outputs=here", "--json"]
    result = cnnctl("evaluate", *words).document["result"]
    assert (result["metrics"]["loss"], result["intervals"]["loss"]) == (None, None)
    assert result["metrics"]["top1"] > 0
    assert "loss  " not in cnnctl("evaluate", *words[:-1]).out.partition("temperature")[0]


def test_safetensors_hold_weights_and_their_configuration(cnnctl, run: Path) -> None:
    saved = weights.read(run / "checkpoints" / "best.ckpt")
    save_file(saved.weights, "net.safetensors", {ENTRY: said(run, saved, "safetensors")})
    result = cnnctl("evaluate", "net.safetensors", "outputs=here", "--json").document["result"]
    wanted = json.loads((run / "result.json").read_text())
    for name, value in wanted["test"].items():
        assert result["metrics"][name] == pytest.approx(value, abs=1e-6), name


def test_an_export_knows_which_images_its_run_was_trained_on(cnnctl, run: Path) -> None:
    saved = weights.read(run / "checkpoints" / "best.ckpt")
    save_file(saved.weights, "net.safetensors", {ENTRY: said(run, saved, "safetensors")})
    words = ["net.safetensors", "outputs=here", "data.split_seed=4"]
    outcome = cnnctl("evaluate", *words)
    assert outcome.code == 0
    assert f"were not held out when {run} was trained" in outcome.err
