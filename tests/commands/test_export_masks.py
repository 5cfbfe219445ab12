from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnctl.cli import main

FAST = ("hardware=cpu", "progress=none")
TINY = ("data=shapes", "data.images=24", "data.size=32", "data.batch_size=4", "trainer.max_steps=8")
KINDS = ("onnx", "torch_export", "torchscript", "safetensors")


def train(outputs: Path, *words: str) -> Path:
    assert main(["train", *TINY, *words, *FAST, f"outputs={outputs}"]) == 0
    (found,) = outputs.glob("train/*")
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's U-Net with three levels of a few maps, on shapes."""
    words = ("model=unet", "model.widths=[4,6,8]", "model.norm=batch")
    return train(tmp_path_factory.mktemp("unet"), *words)


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ("model=unet_small", "model.widths=[4,6]", "data.resize=24")
    return train(tmp_path_factory.mktemp("padded"), *words)


def exported(cnnctl: Any, run: Path, *words: str) -> dict[str, Any]:
    outcome = cnnctl("export", str(run), "output=out", *words, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.document["result"]


def photo(name: str, height: int, width: int) -> str:
    coarse = np.random.default_rng(height).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((width, height)).save(name)
    return name


def mask(cnnctl: Any, target: str, *words: str) -> np.ndarray:
    outcome = cnnctl("predict", target, *words, "hardware=cpu", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return np.asarray(Image.open(outcome.document["result"]["predictions"][0]["mask"]))


def contract() -> dict[str, Any]:
    return json.loads(Path("out/manifest.json").read_text())


def test_the_document_of_an_export(cnnctl, run: Path) -> None:
    found = exported(cnnctl, run, "format=torchscript", "include=preprocess,softmax")
    parity = found["parity"]
    assert (parity["n"], parity["split"], parity["of"]) == (5, "test", "probabilities")
    assert parity["pixels"] == 5 * 32 * 32
    assert parity["max_abs_error"] < 1e-4
    assert parity["top1_agreement"] > 0.999
    assert parity["miou_eager"] == pytest.approx(parity["miou_export"], abs=1e-3)
    assert parity["raw"]["sizes"] == 4
    assert [row["batch_size"] for row in parity["batches"]] == [1, 3]


@pytest.mark.parametrize(
    ("kind", "include"),
    [
        ("onnx", "[preprocess,softmax]"),
        ("torchscript", "[]"),
        ("safetensors", None),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (("onnx", "[]"), ("torch_export", "[]"), ("torch_export", "[preprocess]"))
        ),
    ],
)
def test_the_file_predicts_what_the_run_predicts(
    cnnctl, run: Path, kind: str, include: str | None
) -> None:
    words = [] if include is None else [f"include={include}"]
    file = exported(cnnctl, run, f"format={kind}", "images=2", *words)["file"]
    name = photo("one.png", 45, 61)
    wanted = mask(cnnctl, str(run), name)
    assert (mask(cnnctl, file, name) == wanted).mean() > 0.998
    assert (mask(cnnctl, file, name, "tile=24") == wanted).mean() > 0.998


def test_a_file_with_everything_in_it_says_that_it_takes_any_size(cnnctl, run: Path) -> None:
    exported(cnnctl, run, "format=torchscript", "include=preprocess,softmax", "images=1")
    told = contract()
    assert told["input"] == {
        "name": "images", "type": "uint8", "shape": ["batch", 3, "height", "width"],
        "about": "RGB bytes of any size; the answer is as large",
    }  # fmt: skip
    assert told["output"]["name"] == "probabilities"
    assert told["output"]["shape"] == ["batch", 4, "height", "width"]


def test_the_net_alone_says_which_sides_it_takes(cnnctl, run: Path) -> None:
    """Three levels: 4n + 44 pixels, of which 20 at each edge are lost."""
    exported(cnnctl, run, "format=torchscript", "images=1")
    told = contract()
    assert (told["least"], told["stride"], told["margin"]) == (44, 4, 20)
    about = told["input"]["about"]
    assert "height and width are 44 or any multiple of 4 more" in about
    assert "20 pixels at each edge mirrored" in about
    assert told["output"]["shape"] == ["batch", 4, "height - 40", "width - 40"]


def test_what_the_file_does_not_resize_is_said(cnnctl, padded: Path) -> None:
    exported(cnnctl, padded, "format=torchscript", "include=preprocess", "images=1")
    line = "; resize the short side to 24 pixels first, as in training"
    assert contract()["input"]["about"].endswith(line)
    card = Path("out/README.md").read_text()
    assert line in card
    assert "The file resizes nothing" in card


@pytest.mark.parametrize(
    ("kind", "include"), [("torchscript", "preprocess"), ("torchscript", "[]")]
)
def test_the_lines_of_the_card_write_the_mask(cnnctl, run: Path, kind: str, include: str) -> None:
    lines_of_the_card(cnnctl, run, kind, include)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "torch_export"])
@pytest.mark.parametrize("include", ["[preprocess,softmax]", "[]"])
def test_so_do_those_of_other_formats(cnnctl, run: Path, kind: str, include: str) -> None:
    lines_of_the_card(cnnctl, run, kind, include)


def lines_of_the_card(cnnctl: Any, run: Path, kind: str, include: str) -> None:
    file = exported(cnnctl, run, f"format={kind}", "images=1", f"include={include}")["file"]
    photo("out/image.png", 45, 61)
    code = Path("out/README.md").read_text().partition("```python\n")[2].partition("```")[0]
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd="out", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = np.asarray(Image.open("out/mask.png"))
    assert (found == mask(cnnctl, file, "out/image.png")).mean() > 0.998


def test_lines_that_resize_come_near(cnnctl, padded: Path) -> None:
    exported(cnnctl, padded, "format=torchscript", "include=preprocess", "images=1")
    photo("out/image.png", 48, 72)
    code = Path("out/README.md").read_text().partition("```python\n")[2].partition("```")[0]
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, cwd="out", capture_output=True, text=True, check=True)
    assert np.asarray(Image.open("out/mask.png")).shape == (24, 36)


def test_the_card_names_the_overlap(cnnctl, run: Path) -> None:
    exported(cnnctl, run, "format=torchscript", "images=2")
    card = Path("out/README.md").read_text()
    assert "A net that gives each pixel one of 4 classes, exported by cnnctl." in card
    assert "|  | images | mean IoU |" in card
    assert "| the net, all test images | 5 | " in card
    assert "same class, of all pixels" in card
    assert "background, disc, square, triangle" in card


def test_the_terminal_shows_the_overlap_of_both(cnnctl, run: Path) -> None:
    words = ["format=torchscript", "output=out"]
    out = cnnctl("export", str(run), *words).out.splitlines()
    assert "mean IoU net" in out[0]
    assert "mean IoU file" in out[0]
    assert [line.split("  ")[0] for line in out[2:5]] == [
        "batches of 1", "batches of 3", "scaled to 4 sizes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("quantize=int8", "quantize=int8 is proven by top-1, which a net for masks has not"),
        ("raw_tolerance=0.1", "raw_tolerance has no effect on a net for masks"),
    ],
)
def test_what_has_no_proof_is_refused(cnnctl, run: Path, word: str, told: str) -> None:
    outcome = cnnctl("export", str(run), "output=out", word)
    assert outcome.code == 2
    assert outcome.err.startswith(f"cnnctl: error: {told}")
    assert not Path("out").exists()


def test_a_half_precision_file_is_proven_within_its_own_tolerance(cnnctl, padded: Path) -> None:
    found = exported(cnnctl, padded, "format=safetensors", "precision=fp16")
    assert found["parity"]["tolerance"] == 5e-2
    assert 0 < found["parity"]["max_abs_error"] < 0.5
