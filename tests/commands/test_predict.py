from __future__ import annotations

import csv
import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import targets
import torch
from PIL import Image
from safetensors.torch import save_file

from cnnctl import weights
from cnnctl.cli import main
from cnnctl.commands import trained
from cnnctl.scoring.scores import score
from cnnctl.scoring.ways import Way

FAST = ("hardware=cpu", "progress=none")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on photos of three classes, 40 x 50 to 90 x 64 pixels large, as PNG and JPEG."""
    top = tmp_path_factory.mktemp("animals")
    for split, count in (("train", 8), ("val", 3), ("test", 5)):
        for label, name in enumerate(("ant", "bee", "cat")):
            folder = top / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                photo(folder / f"{number}.{'jpg' if number % 2 else 'png'}", label, number)
    words = ["data=folder", f"data.root={top / 'photos'}", "data.size=32", "trainer.max_epochs=2"]
    code = main(["train", *words, *FAST, "data.batch_size=4", f"outputs={top / 'outputs'}"])
    assert code == 0
    (found,) = top.glob("outputs/train/*")
    return found


def photo(file: Path, label: int, number: int) -> Path:
    """Noise, brighter in one of three channels; every third is as large as a photo."""
    shape = (90, 64, 3) if number % 3 else (40, 50, 3)
    pixels = np.random.default_rng(10 * label + number).integers(0, 120, shape)
    pixels[..., label] += 130
    Image.fromarray(pixels.astype(np.uint8)).save(file)
    return file


@pytest.fixture
def digit() -> str:
    """One image of the class bee."""
    return str(photo(Path("bee.png"), 1, 7))


def photos(run: Path) -> Path:
    return run.parents[2] / "photos"


def result(cnnctl, *words: str, code: int = 0) -> dict[str, Any]:
    outcome = cnnctl("predict", *words, "--json")
    assert (outcome.code, outcome.err) == (code, "")
    return outcome.document["result"]


def test_the_answers_are_those_of_an_evaluation(cnnctl, run: Path) -> None:
    one = targets.found(str(run))
    scorer = trained.scorer(one, trained.classes(one), trained.device(one, "test"))
    evaluated = score(scorer, trained.ready(one), "test", one.train, Way(), lambda *_: None)
    found = result(cnnctl, str(run), str(photos(run) / "test"))
    assert (found["failed"], found["classes"]) == ([], 3)
    assert found["run"] == str(run)
    assert found["checkpoint"] == str(run / "checkpoints" / "best.ckpt")
    rows = {row["file"]: row["top"] for row in found["predictions"]}
    assert set(rows) == set(evaluated.names)
    for name, chances, logits in zip(
        evaluated.names, evaluated.probabilities, evaluated.logits, strict=True
    ):
        assert [one["class"] for one in rows[name]] == [
            evaluated.classes[place] for place in logits.argsort(descending=True).tolist()
        ]
        told = [one["probability"] for one in rows[name]]
        assert told == pytest.approx(chances.sort(descending=True).values.tolist(), abs=1e-6)


def test_the_run_says_whether_the_mirror_image_is_asked_too(cnnctl, run: Path, digit: str) -> None:
    flipped = Path("flipped")
    shutil.copytree(run, flipped)
    config = flipped / "config.yaml"
    config.write_text(config.read_text().replace("test_flip: false", "test_flip: true"))
    plain = result(cnnctl, str(run), digit)["predictions"][0]["top"]
    both = result(cnnctl, str(flipped), digit)["predictions"][0]["top"]
    Image.open(digit).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("mirror.png")
    mirror = result(cnnctl, str(run), "mirror.png")["predictions"][0]["top"]
    logits = [
        torch.tensor([{one["class"]: one["probability"] for one in top}[name] for name in "abc"])
        for top in (named(plain), named(mirror), named(both))
    ]
    mean = ((logits[0].log() + logits[1].log()) / 2).softmax(0)
    assert torch.allclose(mean, logits[2], atol=1e-5)


def named(top: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Classes by their first letter."""
    return [{**one, "class": one["class"][0]} for one in top]


def test_a_table_a_csv_and_a_document_say_the_same(cnnctl, run: Path) -> None:
    words = (str(run), str(photos(run) / "test" / "bee"), "top=2")
    rows = result(cnnctl, *words)["predictions"]
    assert [Path(row["file"]).name for row in rows] == ["0.png", "1.jpg", "2.png", "3.jpg", "4.png"]
    assert all(len(row["top"]) == 2 for row in rows)
    outcome = cnnctl("predict", *words, "format=csv")
    assert (outcome.code, outcome.err) == (0, "")
    for place, line in enumerate(csv.DictReader(io.StringIO(outcome.out))):
        row = rows[place // 2]
        found = row["top"][place % 2]
        assert line == {
            "file": row["file"], "rank": str(place % 2 + 1), "class": found["class"],
            "probability": str(found["probability"]),
        }  # fmt: skip
    table = cnnctl("predict", *words)
    assert (table.code, table.err) == (0, "")
    assert len(table.out.splitlines()) == 2 + 5
    share = f"{100 * rows[0]['top'][0]['probability']:.2f} %"
    assert table.out.splitlines()[2].split("  ")[1].strip() == rows[0]["top"][0]["class"]
    assert share in table.out.splitlines()[2]


def test_what_cannot_be_read_is_listed_and_the_exit_code_is_1(
    cnnctl, run: Path, digit: str
) -> None:
    Path("text.jpg").write_text("text")
    Path("empty").mkdir()
    words = (str(run), "text.jpg", digit, "gone.png", "empty", "x*.png")
    found = result(cnnctl, *words, code=1)
    assert [row["file"] for row in found["predictions"]] == [digit]
    assert found["failed"] == [
        {"file": "gone.png", "reason": "no such file or folder"},
        {"file": "empty", "reason": "no image in this folder"},
        {"file": "x*.png", "reason": "no image is named so"},
        {"file": "text.jpg", "reason": "not an image"},
    ]
    for words_of_format in ((), ("format=csv",)):
        outcome = cnnctl("predict", *words, *words_of_format)
        assert outcome.code == 1
        assert outcome.err.splitlines() == [
            f"cnnctl: left out {row['file']}: {row['reason']}" for row in found["failed"]
        ]
    outcome = cnnctl("predict", str(run), "text.jpg")
    assert outcome == (1, "", "cnnctl: left out text.jpg: not an image\n")


def test_odd_names_can_be_given(cnnctl, run: Path, digit: str) -> None:
    odd = [
        "a b.png",
        "top=3.png",
        "-x.png",
        "new\nline.png",
        "ü数.png",
        "a[1].png",
        "epoch=1/x.png",
    ]
    Path("epoch=1").mkdir()
    for name in odd:
        shutil.copy(digit, name)
    words = [f"./{name}" if name[0] == "-" else name for name in odd]
    assert [row["file"] for row in result(cnnctl, str(run), *words)["predictions"]] == words
    found = result(cnnctl, str(run), "epoch=*/*.png", "top=1")["predictions"]
    assert [(row["file"], len(row["top"])) for row in found] == [("epoch=1/x.png", 1)]
    assert len(cnnctl("predict", str(run), *words).out.splitlines()) == 2 + len(odd)


def test_a_name_that_is_no_utf_8_is_printed_readably(cnnctl, run: Path, digit: str) -> None:
    raw = os.fsdecode(b"caf\xe9.png")
    try:
        shutil.copy(digit, raw)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    for words in (("--json",), ("format=csv",), ()):
        outcome = cnnctl("predict", str(run), ".", *words)
        assert (outcome.code, outcome.err) == (0, "")
        assert r"caf\xe9.png" in outcome.out.replace(r"\\", "\\")


def test_the_checkpoint_and_the_size_of_batches_can_be_chosen(cnnctl, run: Path) -> None:
    folder = str(photos(run) / "test")
    best = result(cnnctl, str(run), folder)
    small = result(cnnctl, str(run), folder, "data.batch_size=1", "hardware=cpu")
    for one, other in zip(best["predictions"], small["predictions"], strict=True):
        assert [row["class"] for row in one["top"]] == [row["class"] for row in other["top"]]
    last = result(cnnctl, str(run), folder, "checkpoint=last")
    assert last["checkpoint"] == str(run / "checkpoints" / "last.ckpt")
    file = str(run / "checkpoints" / "last.ckpt")
    again = result(cnnctl, file, folder)
    assert again["predictions"] == last["predictions"]
    named = result(cnnctl, run.name, folder, f"outputs={run.parents[1]}")
    assert named["predictions"] == best["predictions"]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_somebody_else_take_their_classes_from_the_data(
    cnnctl, run: Path, digit: str, suffix: str
) -> None:
    saved = weights.read(run / "checkpoints" / "best.ckpt")
    file = f"net{suffix}"
    if suffix == ".pth":
        torch.save(saved.weights, file)
    else:
        save_file(saved.weights, file)
    words = (f"data.root={photos(run)}", "data.size=32")
    found = result(cnnctl, file, digit, "model=lenet5", "data=folder", *words)
    assert found["predictions"] == result(cnnctl, str(run), digit)["predictions"]
    assert (found["run"], found["checkpoint"]) == (file, file)


@pytest.mark.parametrize("form", ["safetensors", "torchscript"])
def test_an_exported_file_answers_as_its_run_does(cnnctl, run: Path, digit: str, form: str) -> None:
    assert cnnctl("export", str(run), f"format={form}", "output=out").code == 0
    file = f"out/lenet5.{form}"
    found = result(cnnctl, file, digit, "text.jpg", code=1)
    assert (found["run"], found["checkpoint"], found["classes"]) == (file, file, 3)
    for mine, theirs in zip(
        found["predictions"][0]["top"],
        result(cnnctl, str(run), digit)["predictions"][0]["top"],
        strict=True,
    ):
        assert mine["class"] == theirs["class"]
        assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-5)


def test_no_images_of_training_are_needed_nor_read(cnnctl, run: Path, digit: str) -> None:
    moved = Path("moved")
    shutil.copytree(run, moved)
    config = moved / "config.yaml"
    config.write_text(config.read_text().replace(str(photos(run)), "gone"))
    assert len(result(cnnctl, "moved", digit)["predictions"]) == 1
    assert {path.name for path in Path.cwd().iterdir()} == {"bee.png", "home", "moved"}
    assert list(Path("home").rglob("*")) == []
