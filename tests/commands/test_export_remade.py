"""Exports of nets that make images anew."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnctl import manifest, nets, weights
from cnnctl.cli import main
from cnnctl.config import tasks
from cnnctl.errors import CheckpointError
from cnnctl.export.silence import quiet

FAST = ("hardware=cpu", "progress=none")
TINY = ("model=autoencoder", "model.widths=[4,6]", "model.code=5", "augment=none")
SIZE = 10  # no multiple of the net's stride: borders are mirrored inside the net
KINDS = ("onnx", "torch_export", "torchscript", "safetensors")


def trained(outputs: Path, *words: str) -> Path:
    steps = ("trainer.max_steps=6", "data.batch_size=50", "optimizer.lr=0.01")
    assert main(["train", *TINY, *steps, *words, *FAST, f"outputs={outputs}"]) == 0
    (found,) = outputs.glob("train/*")
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder of digits, hardly trained."""
    return trained(tmp_path_factory.mktemp("digits"), f"data.size={SIZE}")


@pytest.fixture
def coloured(tmp_path: Path, photos: Any) -> Path:
    root = photos({"train": {"cat": 6, "dog": 6}, "test": {"cat": 3, "dog": 3}})
    words = ("data=folder", f"data.root={root}", "data.size=16", "model.upsample=unpool")
    return trained(tmp_path / "coloured", *words)


def exported(cnnctl: Any, run: Path, *words: str) -> dict[str, Any]:
    outcome = cnnctl("export", str(run), "output=out", "images=20", *words, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.document["result"]


def photo(name: str, height: int = 45, width: int = 61) -> str:
    coarse = np.random.default_rng(height).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((width, height)).save(name)
    return name


def made(cnnctl: Any, target: str, name: str) -> np.ndarray:
    outcome = cnnctl("predict", target, name, "hardware=cpu", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return np.asarray(Image.open(outcome.document["result"]["predictions"][0]["image"])).astype(int)


def test_the_document_of_an_export(cnnctl, run: Path) -> None:
    found = exported(cnnctl, run, "format=torchscript", "include=preprocess")
    parity = found["parity"]
    assert (parity["n"], parity["split"], parity["of"]) == (20, "test", "intensities")
    assert parity["max_abs_error"] < 1e-5
    assert (parity["raw"]["sizes"], parity["raw"]["scaled"]) == (3, True)
    for name in ("explained", "psnr", "mse"):
        assert parity[f"{name}_eager"] == pytest.approx(parity[f"{name}_export"], rel=1e-4)
    assert found["include"] == ["preprocess"]


@pytest.mark.parametrize(
    ("kind", "include"),
    [
        ("onnx", "[]"),
        ("torch_export", "[]"),
        ("torchscript", "[preprocess]"),
        ("safetensors", None),
        pytest.param("onnx", None, marks=pytest.mark.slow),
        pytest.param("torch_export", None, marks=pytest.mark.slow),
    ],
)
def test_the_file_has_the_figures_of_its_run(
    cnnctl, run: Path, kind: str, include: str | None
) -> None:
    """With what a format has in it unless told otherwise, and with what it is told to have."""
    words = [] if include is None else [f"include={include}"]
    found = exported(cnnctl, run, f"format={kind}", *words)
    usual = "[]" if kind == "safetensors" else "[preprocess]"
    assert found["include"] == [part for part in ["preprocess"] if part in (include or usual)]
    outcome = cnnctl("evaluate", found["file"], "outputs=here", "hardware=cpu", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    wanted = json.loads((run / "result.json").read_text())["test"]
    for name, value in wanted.items():
        assert outcome.document["result"]["metrics"][name] == pytest.approx(value, rel=1e-4), name


def test_a_file_with_everything_in_it_gives_intensities_of_any_image(cnnctl, run: Path) -> None:
    """What the net's own weights give, by hand."""
    file = exported(cnnctl, run, "format=torchscript", "include=preprocess")["file"]
    saved = weights.read(run / "checkpoints/best.ckpt")
    spec, _ = nets.read_spec(saved.config["model"])
    assert spec is not None
    net = nets.build(spec, num_classes=10, shape=(1, SIZE, SIZE)).eval()
    weights.load(net, saved)
    images = torch.randint(0, 256, (3, 1, SIZE, SIZE), dtype=torch.uint8)
    (mean,), (std,) = saved.config["data"]["mean"], saved.config["data"]["std"]
    with torch.no_grad(), quiet():
        wanted = net((images / 255 - mean) / std) * std + mean
        opened = torch.jit.load(file)
        torch.testing.assert_close(opened(images), wanted, atol=1e-6, rtol=1e-5)
        assert opened(images.repeat(1, 1, 3, 2)).shape == (3, 1, SIZE, SIZE)


def test_the_contract_is_told(cnnctl, run: Path) -> None:
    exported(cnnctl, run, "format=torchscript")
    told = json.loads(Path("out/manifest.json").read_text())
    about = "(byte / 255 − mean) / std, channel by channel"
    assert told["input"] == {
        "name": "images", "type": "float32", "shape": ["batch", 1, SIZE, SIZE], "about": about,
    }  # fmt: skip
    assert told["output"] == {
        "name": "values", "type": "float32", "shape": ["batch", 1, SIZE, SIZE],
        "about": f"the image as the net makes it anew, {about}",
    }  # fmt: skip
    assert told["own_loss"] is True


def test_the_card_tells_what_is_explained_and_names_no_classes(cnnctl, run: Path) -> None:
    exported(cnnctl, run, "format=torchscript")
    card = Path("out/README.md").read_text()
    assert "A net that makes images anew from fewer values, exported by cnnctl." in card
    assert "|  | images | explained | PSNR |" in card
    assert "| the net, all test images | 359 | " in card
    assert " dB |" in card
    assert "|  | images | largest error |\n" in card
    assert "## Classes" not in card
    assert "top-1" not in card


def lines_of_the_card(cnnctl: Any, run: Path, *words: str) -> None:
    file = exported(cnnctl, run, *words)["file"]
    saved = weights.read(run / "checkpoints/best.ckpt").config["data"]["size"]
    photo("out/image.png", saved, saved)  # of the right size nobody resizes
    code = Path("out/README.md").read_text().partition("```python\n")[2].partition("```")[0]
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd="out", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = np.asarray(Image.open("out/anew.png")).astype(int)
    wanted = made(cnnctl, file, "out/image.png")
    assert found.shape == wanted.shape
    assert abs(found - wanted).max() <= 1


@pytest.mark.parametrize("include", ["[preprocess]", "[]"])
def test_the_lines_of_the_card_write_the_image(cnnctl, run: Path, include: str) -> None:
    lines_of_the_card(cnnctl, run, "format=torchscript", f"include={include}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "torch_export", "torchscript"])
@pytest.mark.parametrize("include", ["[preprocess]", "[]"])
def test_so_do_those_of_other_formats_in_colour(
    cnnctl, coloured: Path, kind: str, include: str
) -> None:
    lines_of_the_card(cnnctl, coloured, f"format={kind}", f"include={include}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", ["true", "false"])
def test_the_file_makes_what_the_run_makes(cnnctl, coloured: Path, kind: str, batch: str) -> None:
    words = [] if kind == "safetensors" else [f"dynamic_batch={batch}"]
    file = exported(cnnctl, coloured, f"format={kind}", *words)["file"]
    name = photo("one.png")
    found, wanted = made(cnnctl, file, name), made(cnnctl, str(coloured), name)
    assert found.shape == (16, 16, 3)
    assert abs(found - wanted).max() <= 1


def test_a_half_precision_file_is_proven_within_its_own_tolerance(cnnctl, run: Path) -> None:
    found = exported(cnnctl, run, "format=safetensors", "precision=fp16")
    assert found["parity"]["tolerance"] == 5e-2
    assert 0 < found["parity"]["max_abs_error"] < 1e-2


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("quantize=int8", "quantize=int8 is proven by top-1, which a net that makes images anew"),
        ("include=[preprocess,softmax]", "include=softmax has no effect on a net that makes"),
    ],
)
def test_what_it_cannot_have_is_refused(cnnctl, run: Path, word: str, told: str) -> None:
    outcome = cnnctl("export", str(run), "output=out", word)
    assert outcome.code == 2
    assert outcome.err.startswith(f"cnnctl: error: {told}")
    assert not Path("out").exists()


def test_a_file_that_makes_images_of_another_size_is_refused(cnnctl, run: Path) -> None:
    from exports import cpu

    from cnnctl.scoring import exported as scored

    file = Path(exported(cnnctl, run, "format=torchscript")["file"])
    about = manifest.read(file)
    assert about is not None
    assert about.task == tasks.of(about.config["model"]) == "reconstruct"
    train, device = cpu(*TINY, f"data.size={SIZE}")
    scorer = scored.load(file, about, train, device)
    images = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.uint8)
    assert scorer(images).shape == (2, 1, SIZE, SIZE)
    assert scorer.loss(scorer(images), torch.zeros(2)) is None
    scorer.run = lambda images: torch.zeros(len(images), 1, 4, 4)
    with pytest.raises(CheckpointError, match="makes 1x4x4 of an image, its manifest says 1x10x10"):
        scorer(images)
