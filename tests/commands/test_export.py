from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from exports import trained
from PIL import Image

from cnnctl import weights
from cnnctl.export import make


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of LeNet-5 on digits, one epoch long."""
    return trained(tmp_path_factory.mktemp("outputs"))


def left() -> list[str]:
    """What lies in the working folder."""
    return sorted(path.name for path in Path.cwd().iterdir() if path.name != "home")


def exports(run: Path) -> list[str]:
    """What lies where exports of the run go."""
    return sorted(path.name for path in (run.parent.parent / "export").glob("*"))


def test_the_document_of_an_export(cnnctl, lenet: Path) -> None:
    outcome = cnnctl("export", str(lenet), "--json")
    assert (outcome.code, outcome.err) == (0, "")
    result = outcome.document["result"]
    assert result["format"] == "onnx"
    assert len(result["sha256"]) == 64
    parity = result["parity"]
    assert parity["n"] == 256
    assert parity["max_abs_error"] < 1e-5
    assert parity["top1_agreement"] == 1
    assert parity["top1_eager"] == parity["top1_export"] > 0.5
    assert parity["raw"]["top1_agreement"] == 1
    assert [row["batch_size"] for row in parity["batches"]] == [1, 3, 32]
    folder = Path(result["file"]).parent
    assert folder.parent == lenet.parent.parent / "export"
    assert "_lenet5_digits_" in folder.name
    for name in ("file", "manifest", "card"):
        assert Path(result[name]).is_file()
    assert left() == []


def test_evaluating_the_file_gives_the_figures_of_the_run(cnnctl, lenet: Path) -> None:
    wanted = cnnctl("evaluate", str(lenet), "--json").document["result"]["metrics"]
    for kind in ("onnx", "torch_export", "torchscript", "safetensors"):
        words = [f"format={kind}", "images=32", f"output={kind}", "--json"]
        file = cnnctl("export", str(lenet), *words).document["result"]["file"]
        found = cnnctl("evaluate", file, "--json").document["result"]["metrics"]
        for name in ("top1", "top5"):
            assert found[name] == wanted[name]
        assert found["loss"] == pytest.approx(wanted["loss"], abs=1e-5)


def test_the_lines_of_the_card_are_run_as_they_stand(cnnctl, lenet: Path) -> None:
    cnnctl("export", str(lenet), "images=3", "output=out")
    image = Image.effect_noise((50, 40), 90)
    image.save("out/image.png")
    code = Path("out/README.md").read_text().partition("```python\n")[2].partition("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="out", capture_output=True, text=True, check=False
    )
    words = ["predict", "out/lenet5.onnx", "out/image.png", "--json"]
    best = cnnctl(*words).document["result"]["predictions"][0]["top"][0]["class"]
    assert (done.stdout, done.stderr) == (f"{best}\n", "")


def test_the_card_has_the_figures_of_the_run(cnnctl, lenet: Path) -> None:
    cnnctl("export", str(lenet), "format=safetensors", "images=3", "output=out")
    top1 = json.loads((lenet / "result.json").read_text())["test"]["top1"]
    line = f"| the net, all test images | 359 | {100 * top1:.2f} % |"
    assert line in Path("out/README.md").read_text()


def test_what_people_see(cnnctl, lenet: Path) -> None:
    outcome = cnnctl("export", str(lenet), "format=torchscript", "images=50", "output=out")
    lines = outcome.out.splitlines()
    head = "50 test images images largest error same class top-1 net top-1 file"
    assert " ".join(lines[0].split()) == head
    assert "file      out/lenet5.torchscript" in lines
    assert lines[-2:] == [
        "  cnnctl evaluate out/lenet5.torchscript", "  cnnctl bench out/lenet5.torchscript",
    ]  # fmt: skip
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["format=safetensors", "include=softmax"],
            (
                "include has no effect on safetensors, which holds weights alone "
                "(format=onnx or torch_export)"
            ),
        ),
        (
            ["quantize=int8", "precision=fp16"],
            (
                "quantize=int8 and precision=fp16: weights have one number format "
                "(leave one of them out)"
            ),
        ),
        (["format=onxx"], "format must be one of"),
        (["include=resize"], "each of include must be one of preprocess, softmax, got 'resize'"),
        (["hardware=gpu"], "'hardware=gpu' has no effect: an export is made and proven on the CPU"),
        (["optimizer.lr=1"], "'optimizer.lr=1' has no effect here: the run has its own optimizer"),
        (["images=0"], "images must be at least 1, got 0"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    process, lenet: Path, words: list[str], line: str
) -> None:
    """In a process of its own, in which torch cannot even be found."""
    Path("torch.py").write_text("raise SystemExit('torch was imported')")
    outcome = process("export", str(lenet), *words, PYTHONPATH=str(Path.cwd()))
    Path("torch.py").unlink()
    assert outcome.code == 2
    assert outcome.err.startswith(f"cnnctl: error: {line}")
    assert len(outcome.err.splitlines()) == 1
    assert not Path("outputs").exists()


@pytest.mark.parametrize("targets", [[], ["a", "b"]])
def test_one_run_is_exported_at_a_time(cnnctl, targets: list[str]) -> None:
    outcome = cnnctl("export", *targets)
    assert outcome.code == 2
    assert f"export takes one run, got {len(targets)}" in outcome.err


def test_a_folder_with_something_in_it_is_not_touched(cnnctl, lenet: Path) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("x")
    outcome = cnnctl("export", str(lenet), "output=mine")
    assert outcome.code == 2
    assert outcome.err == (
        "cnnctl: error: mine is not empty (output=FOLDER with the name of a new folder)\n"
    )
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.tex"]


def test_without_the_packages_it_says_what_to_install(cnnctl, lenet: Path, monkeypatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name in ("onnxruntime", "onnxscript") else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    outcome = cnnctl("export", str(lenet))
    assert outcome.err == (
        "cnnctl: error: format=onnx needs onnxscript, onnxruntime (pip install 'cnnctl[onnx]')\n"
    )
    assert outcome.code == 2
    assert left() == []


@pytest.mark.parametrize("kind", ["torchscript", "safetensors"])
def test_an_exported_file_is_not_exported_again(cnnctl, lenet: Path, kind: str) -> None:
    words = [f"format={kind}", "images=3", "output=out", "--json"]
    file = cnnctl("export", str(lenet), *words).document["result"]["file"]
    outcome = cnnctl("export", file)
    assert outcome.code == 2
    assert outcome.err == (
        f"cnnctl: error: {file} is an exported file already (export what it is from: {lenet})\n"
    )


def test_a_checkpoint_is_exported(cnnctl, lenet: Path) -> None:
    shutil.copy(lenet / "checkpoints" / "last.ckpt", "mine.ckpt")
    words = ["format=safetensors", "images=3", "output=out", "--json"]
    result = cnnctl("export", "mine.ckpt", *words).document["result"]
    assert result["run"] == result["checkpoint"] == "mine.ckpt"


def test_weights_are_exported_with_their_net_and_data(cnnctl, lenet: Path) -> None:
    saved = weights.read(lenet / "checkpoints" / "best.ckpt")
    torch.save(saved.weights, "weights.pth")
    words = ["model=lenet5", "data=digits", "format=torchscript", "images=3", "output=out"]
    result = cnnctl("export", "weights.pth", *words, "--json").document["result"]
    assert result["parity"]["top1_agreement"] == 1
    sha256 = json.loads(Path("out/manifest.json").read_text())["weights_sha256"]
    assert sha256 == weights.sha256(saved.weights)


def test_weights_alone_say_what_is_missing(cnnctl, lenet: Path) -> None:
    torch.save(weights.read(lenet / "checkpoints" / "best.ckpt").weights, "weights.pth")
    outcome = cnnctl("export", "weights.pth")
    assert outcome.code == 2
    assert "model=resnet18 data=imagenet" in outcome.err


@pytest.mark.parametrize("place", ["_write", "_prove"])
def test_ctrl_c_leaves_nothing(cnnctl, lenet: Path, monkeypatch, place: str) -> None:
    before, work = exports(lenet), getattr(make, place)

    def interrupted(*args: Any, **more: Any) -> None:
        work(*args, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(make, place, interrupted)
    outcome = cnnctl("export", str(lenet), "format=torchscript", "images=3")
    assert outcome.code == 130
    assert before == exports(lenet)


def test_a_file_that_is_too_far_off_is_not_kept(cnnctl, lenet: Path) -> None:
    words = ["format=torchscript", "precision=fp16", "tolerance=1e-9", "images=20", "output=out"]
    outcome = cnnctl("export", str(lenet), *words)
    assert outcome.code == 1
    assert outcome.err.startswith(
        "cnnctl: error: the file does not compute what the net computes: on batches of 1 it is off"
    )
    assert "1e-09 is allowed (nothing was kept; tolerance=" in outcome.err
    assert left() == []


def test_a_net_of_torchvision_gets_a_file_name_without_a_slash(cnnctl, tmp_path: Path) -> None:
    words = ["model=torchvision/squeezenet1_1", "data=fake", "data.size=64", "trainer.max_steps=1"]
    run = trained(tmp_path / "outputs", *words)
    words = ["format=torchscript", "images=3", f"outputs={tmp_path / 'outputs'}", "--json"]
    file = Path(cnnctl("export", str(run), *words).document["result"]["file"])
    assert file.name == "torchvision-squeezenet1_1.torchscript"
    assert "_torchvision-squeezenet1_1_fake_" in file.parent.name


def test_sigterm_in_the_middle_leaves_nothing(cnnctl, lenet: Path, monkeypatch) -> None:
    before = exports(lenet)

    def ended(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(make, "_prove", ended)
    outcome = cnnctl("export", str(lenet), "format=torchscript", "images=3")
    assert (outcome.code, exports(lenet)) == (143, before)
    assert outcome.err.endswith("stopped by SIGTERM; nothing was kept\n")
