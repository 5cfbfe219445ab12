from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnctl import nets, weights
from cnnctl.cli import main
from cnnctl.data import digits

WORDS = (
    "model=autoencoder", "model.widths=[4,8]", "model.code=6", "data.size=8", "hardware=cpu",
    "progress=none", "trainer.max_steps=3", "augment=none",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder of digits, hardly trained."""
    folder = tmp_path_factory.mktemp("outputs")
    assert main(["train", *WORDS, f"outputs={folder}"]) == 0
    (found,) = folder.glob("train/*")
    return found


@pytest.fixture
def pictures() -> list[str]:
    """Three digits as files."""
    for number in range(3):
        Image.fromarray(digits.one(number, 8)[0].numpy()).save(f"{number}.png")
    return [f"{number}.png" for number in range(3)]


def made(run: Path, number: int, *, flip: bool = False) -> np.ndarray:
    """Intensities that the net makes of a digit."""
    saved = weights.read(run / "checkpoints/best.ckpt")
    spec, _ = nets.read_spec(saved.config["model"])
    assert spec is not None
    net = nets.build(spec, num_classes=10, shape=(1, 8, 8)).eval()
    weights.load(net, saved)
    seen = (digits.one(number, 8)[None].float() / 255 - 0.3057) / 0.3241
    with torch.no_grad():
        found = net(seen)
        if flip:
            found = (found + net(seen.flip(3)).flip(3)) / 2
    return (found * 0.3241 + 0.3057)[0, 0].double().numpy()


def test_what_is_made_of_each_file_is_a_picture(cnnctl, run: Path, pictures) -> None:
    outcome = cnnctl("predict", str(run), *pictures, "outputs=here", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    result = outcome.document["result"]
    folder = Path(result["folder"])
    assert json.loads((folder / "result.json").read_text()) == result
    for number, row in enumerate(result["predictions"]):
        found = made(run, number)
        true = digits.one(number, 8)[0].double().numpy() / 255
        with Image.open(row["image"]) as image:
            assert image.mode == "L"
            seen = np.asarray(image).astype(int)
        expected = np.clip(np.round(found * 255), 0, 255)
        assert np.abs(seen - expected).max() <= 1
        mse = ((found - true) ** 2).mean()
        spread = ((true - true.mean()) ** 2).mean()
        assert row["file"] == f"{number}.png"
        assert row["mse"] == pytest.approx(mse, rel=1e-4)
        assert row["psnr"] == pytest.approx(-10 * np.log10(mse), rel=1e-4)
        assert row["explained"] == pytest.approx(1 - mse / spread, rel=1e-4)


def test_people_read_a_row_for_each_file(cnnctl, run: Path, pictures) -> None:
    lines = cnnctl("predict", str(run), *pictures, "output=mine").out.splitlines()
    assert lines[0].split() == ["file", "made", "of", "it", "explained", "PSNR"]
    assert [line.split()[:2] for line in lines[2:5]] == [
        [f"{i}.png", f"mine/{i}.png"] for i in "012"
    ]
    assert lines[-1] == "folder  mine"
    names = {"0.png", "1.png", "2.png", "result.json"}
    assert {file.name for file in Path("mine").iterdir()} == names


def test_programs_read_csv(cnnctl, run: Path, pictures) -> None:
    out = cnnctl("predict", str(run), *pictures, "format=csv", "output=mine").out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["image"] for row in rows] == [f"mine/{i}.png" for i in range(3)]
    assert list(rows[0]) == ["file", "image", "mse", "psnr", "explained"]
    assert float(rows[1]["mse"]) > 0


def test_files_of_one_name_do_not_overwrite_each_other(cnnctl, run: Path, pictures) -> None:
    Path("a").mkdir()
    Path("a/0.png").write_bytes(Path(pictures[1]).read_bytes())
    result = cnnctl("predict", str(run), "0.png", "a/0.png", "output=mine", "--json").document[
        "result"
    ]
    assert [row["image"] for row in result["predictions"]] == ["mine/0.png", "mine/0-2.png"]


def test_what_cannot_be_read_is_told_and_left_out(cnnctl, run: Path, pictures) -> None:
    Path("x.png").write_text("no")
    outcome = cnnctl("predict", str(run), "x.png", pictures[0], "output=mine")
    assert outcome.code == 1
    assert outcome.err == "cnnctl: left out x.png: not an image\n"
    outcome = cnnctl("predict", str(run), "x.png", "output=none", "--json")
    result = outcome.document["result"]
    assert (outcome.code, result["predictions"], result["folder"]) == (1, [], None)
    assert not Path("none").exists()


def test_the_mirror_image_counts_where_training_had_it_so(cnnctl, tmp_path: Path, pictures) -> None:
    words = (*WORDS, "trainer.test_flip=true", f"outputs={tmp_path / 'flipped'}")
    assert main(["train", *words]) == 0
    (run,) = (tmp_path / "flipped").glob("train/*")
    result = cnnctl("predict", str(run), pictures[0], "output=mine", "--json").document["result"]
    true = digits.one(0, 8)[0].double().numpy() / 255
    mse = ((made(run, 0, flip=True) - true) ** 2).mean()
    assert result["predictions"][0]["mse"] == pytest.approx(mse, rel=1e-4)


def test_a_net_that_gives_no_numbers_makes_no_picture(
    cnnctl, run: Path, pictures, monkeypatch
) -> None:
    monkeypatch.setattr(
        "cnnctl.scoring.scorer.Placed.__call__", lambda _, images: images * torch.nan
    )
    outcome = cnnctl("predict", str(run), pictures[0], "output=mine")
    assert outcome.code == 1
    assert outcome.err == "cnnctl: left out 0.png: what the net makes of it is not finite\n"
    assert not Path("mine").exists()


@pytest.mark.parametrize("word", ["top=3", "tile=64"])
def test_what_is_about_classes_or_masks_is_refused(cnnctl, run: Path, pictures, word: str) -> None:
    outcome = cnnctl("predict", str(run), pictures[0], word, "output=mine")
    assert outcome.code == 2
    assert word in outcome.err
    assert not Path("mine").exists()
