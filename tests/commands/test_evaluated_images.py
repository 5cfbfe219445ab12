from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnctl import nets, weights
from cnnctl.cli import main
from cnnctl.config import tasks
from cnnctl.data import digits

WORDS = (
    "model=autoencoder", "model.widths=[4,8]", "model.code=6", "data.size=8", "hardware=cpu",
    "progress=none", "data.batch_size=100", "optimizer.lr=0.01", "augment=none",
)  # fmt: skip


def trained(folder: Path, *more: str) -> Path:
    assert main(["train", *WORDS, "trainer.max_steps=20", *more, f"outputs={folder}"]) == 0
    (run,) = folder.glob("train/*")
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder of digits, hardly trained."""
    return trained(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same from other weights, trained for a step."""
    return trained(tmp_path_factory.mktemp("other"), "seed=1", "trainer.max_steps=1")


def remade(run: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Intensities of the test images, what the net makes of them, and their names."""
    saved = weights.read(run / "checkpoints/best.ckpt")
    spec, _ = nets.read_spec(saved.config["model"])
    assert spec is not None
    net = nets.build(spec, num_classes=10, shape=(1, 8, 8)).eval()
    weights.load(net, saved)
    data = saved.config["data"]
    names = (run / "split.json").read_text()
    numbers = [int(word) for word in _split(names)]
    true = torch.stack([digits.one(number, 8) for number in numbers]).float() / 255
    (mean,), (std,) = data["mean"], data["std"]
    with torch.no_grad():
        made = net((true - mean) / std) * std + mean
    return true.double().numpy(), made.double().numpy(), [f"image {one}" for one in numbers]


def _split(text: str) -> list[str]:
    import json

    return [name.removeprefix("image ") for name in json.loads(text)["test"]]


def test_the_figures_are_those_of_the_net_on_the_test_split(cnnctl, run: Path) -> None:
    result = cnnctl("evaluate", str(run), "outputs=here", "--json").document["result"]
    true, made, names = remade(run)
    error = (true - made) ** 2
    assert result["n"] == len(names)
    assert result["split"] == "test"
    assert result["metrics"] == pytest.approx(
        {
            "explained": 1 - error.sum() / ((true - true.mean()) ** 2).sum(),
            "psnr": -10 * np.log10(error.mean()),
            "mse": error.mean(),
            "loss": error.mean() / 0.3241**2,
        },
        rel=1e-4,
    )
    for name, (low, high) in result["intervals"].items():
        assert low < result["metrics"][name] < high
    assert result["weights_sha256"] == weights.sha256(
        weights.read(run / "checkpoints/best.ckpt").weights
    )


def test_a_row_for_every_image_and_a_sheet_of_the_worst(cnnctl, run: Path) -> None:
    result = cnnctl("evaluate", str(run), "outputs=here", "mistakes=3", "--json").document["result"]
    true, made, names = remade(run)
    with Path(result["predictions"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == names
    error = ((true - made) ** 2).mean((1, 2, 3))
    own = ((true - true.mean((1, 2, 3), keepdims=True)) ** 2).mean((1, 2, 3))
    for row, mse, spread in zip(rows, error, own, strict=True):
        assert float(row["mse"]) == pytest.approx(mse, rel=1e-4)
        assert float(row["psnr"]) == pytest.approx(-10 * np.log10(mse), rel=1e-4)
        assert float(row["explained"]) == pytest.approx(1 - mse / spread, rel=1e-3, abs=1e-4)
    folder = Path(result["folder"])
    assert sorted(one.name for one in folder.iterdir()) == sorted(result["files"])
    with Image.open(folder / "worst.png") as sheet:
        seen = np.asarray(sheet.convert("L"))
    worst = int(error.argmax())
    first = (true[worst, 0] * 255).round()
    top = 26 + 17 + 22
    shown = seen[top : top + 15 * 8 : 15, 26 : 26 + 15 * 8 : 15]  # 17 columns as 255 pixels
    np.testing.assert_array_equal(shown, first)


def test_files_that_nobody_wants_are_not_written(cnnctl, run: Path) -> None:
    words = ("mistakes=0", "predictions=none", "outputs=here", "--json")
    result = cnnctl("evaluate", str(run), *words).document["result"]
    assert result["files"] == ["result.json"]
    assert result["predictions"] is None


def test_people_read_figures_with_their_intervals(cnnctl, run: Path) -> None:
    shown = cnnctl("evaluate", str(run), "outputs=here").out
    assert shown.startswith("359 images of test")
    for name in ("explained", "PSNR", "squared error", "loss"):
        assert f"\n{name} " in shown
    assert "predictions.csv worst.png" in shown


def test_two_nets_are_compared_on_the_same_images(cnnctl, run: Path, other: Path) -> None:
    words = (str(run), str(other), "--compare", "outputs=here")
    result = cnnctl("evaluate", *words, "--json").document["result"]
    one, two = (net["metrics"]["explained"] for net in result["nets"])
    told = result["comparison"]
    assert told["explained"]["difference"] == pytest.approx(two - one)
    assert told["better"] == 0
    errors = [((true - made) ** 2).sum((1, 2, 3)) for true, made, _ in map(remade, (run, other))]
    assert told["first_closer"] == (errors[0] < errors[1]).sum()
    names = ["predictions_1.csv", "worst_1.png", "predictions_2.csv", "worst_2.png"]
    assert result["files"][1:] == names
    assert "the first is better" in cnnctl("evaluate", *words).out


def test_several_nets_are_one_by_the_mean_of_their_images(cnnctl, run: Path, other: Path) -> None:
    words = (str(run), str(other), "--ensemble", "outputs=here")
    result = cnnctl("evaluate", *words, "--json").document["result"]
    (true, made, _), (_, its, _) = remade(run), remade(other)
    error = (true - (made + its) / 2) ** 2
    assert result["metrics"]["mse"] == pytest.approx(error.mean(), rel=1e-4)
    assert result["ensemble"]["best"] == 0
    assert len(result["ensemble"]["members"]) == 2
    assert "against net 1" in cnnctl("evaluate", *words).out


def test_nets_that_see_other_images_are_not_compared(cnnctl, run: Path, tmp_path: Path) -> None:
    larger = trained(tmp_path / "larger", "data.size=12", "trainer.max_steps=1")
    outcome = cnnctl("evaluate", str(run), str(larger), "--compare", "outputs=here")
    text = f"{run} makes images of 1×8×8, {larger} of 1×12×12 (nets for images of one size)"
    assert outcome == (2, "", f"cnnctl: error: {text}\n")
    outcome = cnnctl("evaluate", str(run), "outputs=here", "split=train", "data=fake")
    assert not Path("here").exists() or outcome.code == 0


def test_nets_of_other_splits_are_not_compared(cnnctl, run: Path, tmp_path: Path) -> None:
    seeded = trained(tmp_path / "seeded", "data.split_seed=1", "trainer.max_steps=1")
    outcome = cnnctl("evaluate", str(run), str(seeded), "--ensemble", "outputs=here")
    assert outcome.code == 2
    assert "they are not measured on the same images: image 1 of " in outcome.err


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("crops=ten", "crops=ten has no effect on a net that makes whole images anew"),
        ("robustness=shift", "robustness=shift has no effect on a net that makes whole images"),
        ("predictions=parquet", "predictions=parquet is for classes"),
    ],
)
def test_what_is_about_classes_is_refused(cnnctl, run: Path, word: str, text: str) -> None:
    outcome = cnnctl("evaluate", str(run), word, "outputs=here")
    assert outcome.code == 2
    assert outcome.err.startswith(f"cnnctl: error: {text}")
    assert not Path("here").exists()


def test_a_folder_that_cannot_be_filled_is_not_left_behind(cnnctl, run: Path, monkeypatch) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cnnctl.commands.evaluated_images.sheet", full)
    outcome = cnnctl("evaluate", str(run), "outputs=here")
    assert outcome.code == 2
    assert "No space left on device (choose another folder with outputs=…)" in outcome.err
    assert not list(Path("here").glob("evaluate/*"))


def test_a_checkpoint_alone_is_measured_as_its_run(cnnctl, run: Path) -> None:
    shutil.copy(run / "checkpoints/best.ckpt", "mine.ckpt")
    one, other = (
        cnnctl("evaluate", target, "outputs=here", "--json").document["result"]["metrics"]
        for target in (str(run), "mine.ckpt")
    )
    assert one == other
    assert tasks.of(weights.read(Path("mine.ckpt")).config["model"]) == "reconstruct"
