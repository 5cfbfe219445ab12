"""Evaluating a U-Net on shapes: one run for all tests of the file."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cnnctl.cli import main

Result = dict[str, Any]
SMALL = (
    "model=unet_small", "model.widths=[6,8]", "data.images=40", "data.size=24",
    "data.batch_size=8", "optimizer.lr=0.01", "hardware=cpu", "progress=none",
)  # fmt: skip
SHARED = ("miou", "dice", "pixel_accuracy", "loss")


def trained(tmp_path_factory: pytest.TempPathFactory, *words: str) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    assert main(["train", *SMALL, *words, f"outputs={outputs}"]) == 0
    (run,) = outputs.glob("train/*")
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs; mirror images are measured, too."""
    return trained(tmp_path_factory, "trainer.max_epochs=3", "trainer.test_flip=true")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another start, two steps, another loss."""
    words = ("trainer.max_steps=2", "seed=1", "loss=dice", "loss.cross_entropy=1")
    return trained(tmp_path_factory, *words, "loss.border=[10,3]")


@pytest.fixture
def evaluate(cnnctl) -> Callable[..., Result]:
    def ask(*words: str) -> Result:
        outcome = cnnctl("evaluate", *map(str, words), "outputs=here", "--json")
        assert (outcome.code, outcome.err) == (0, "")
        return outcome.document["result"]

    return ask


def kept(run: Path) -> Result:
    return json.loads((run / "result.json").read_text())


def test_the_figures_are_those_of_training(evaluate, run: Path, other: Path) -> None:
    for one in (run, other):
        for split in ("test", "val"):
            found = evaluate(one, f"split={split}")["metrics"]
            wanted = kept(one)[split]
            for name in SHARED:
                assert found[name] == pytest.approx(wanted[name], abs=1e-6), (split, name)


def test_the_document_of_an_evaluation(evaluate, run: Path) -> None:
    result = evaluate(run)
    assert (result["task"], result["split"], result["n"]) == ("segment", "test", 8)
    assert (result["target"], result["run"]) == (str(run), str(run))
    assert result["weights_sha256"] == kept(run)["best"]["weights_sha256"]
    assert result["way"] == {"flip": True, "tile": None, "boundary": 0.0075}
    assert set(result["metrics"]) == set(result["intervals"]) == {
        "miou", "dice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou",
        "boundary_f1", "loss",
    }  # fmt: skip
    pixels = 8 * 24 * 24
    rows = result["per_class"]
    assert [row["class"] for row in rows] == ["background", "disc", "square", "triangle"]
    assert sum(row["pixels"] for row in rows) == sum(map(sum, result["confusion"])) == pixels
    known = [row["iou"] for row in rows if row["iou"] is not None]
    assert sum(known) / len(known) == pytest.approx(result["metrics"]["miou"])
    assert result["images_per_second"] == pytest.approx(8 / result["seconds"])


def test_what_is_kept(evaluate, run: Path) -> None:
    result = evaluate(run, "mistakes=3")
    folder = Path(result["folder"])
    assert folder.parent == Path("here/evaluate")
    assert sorted(file.name for file in folder.iterdir()) == sorted(result["files"])
    assert result["files"] == [
        "result.json", "predictions.csv", "masks.png", "classes.png", "confusion.png",
    ]  # fmt: skip
    assert json.loads((folder / "result.json").read_text()) == result
    with (folder / "predictions.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 8
    assert result["predictions"] == str(folder / "predictions.csv")
    loss = sum(float(row["loss"]) * int(row["pixels"]) for row in rows) / (8 * 24 * 24)
    assert loss == pytest.approx(result["metrics"]["loss"], rel=1e-5)
    with Image.open(folder / "masks.png") as sheet:
        few = sheet.size
    more = evaluate(run, "mistakes=8", "predictions=none")
    assert "predictions.csv" not in more["files"]
    with Image.open(Path(more["folder"]) / "masks.png") as sheet:
        assert sheet.size[1] > 2 * few[1]
    assert "masks.png" not in evaluate(run, "mistakes=0")["files"]


def test_a_run_shows_some_images_of_val(run: Path) -> None:
    assert kept(run)["masks"] == "masks.png"
    with Image.open(run / "masks.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.size[0] > 4 * 24


def test_mirror_images_may_be_left_out(evaluate, run: Path) -> None:
    both, one = evaluate(run), evaluate(run, "flip=false")
    assert one["way"]["flip"] is False
    assert one["metrics"]["loss"] != pytest.approx(both["metrics"]["loss"], rel=1e-6)


def test_tiles_give_the_figures_of_whole_images(evaluate, other: Path) -> None:
    whole, parts = evaluate(other), evaluate(other, "tile=8")
    assert parts["way"]["tile"] == 8
    for name in ("miou", "loss", "boundary_f1"):
        assert parts["metrics"][name] == pytest.approx(whole["metrics"][name], abs=1e-4)


def test_a_wider_tolerance_finds_more_of_the_outlines(evaluate, run: Path) -> None:
    narrow, wide = evaluate(run)["metrics"], evaluate(run, "boundary=0.1")["metrics"]
    assert wide["boundary_f1"] > narrow["boundary_f1"]
    assert wide["miou"] == narrow["miou"]


def test_two_nets_are_compared(evaluate, cnnctl, run: Path, other: Path) -> None:
    result = evaluate(run, other, "--compare")
    first, second = (one["metrics"] for one in result["nets"])
    told = result["comparison"]
    assert told["difference"] == pytest.approx(second["miou"] - first["miou"])
    assert told["loss"]["difference"] == pytest.approx(second["loss"] - first["loss"])
    assert told["first_better"] + told["second_better"] + told["alike"] == result["n"] == 8
    assert [one["run"] for one in result["nets"]] == [str(run), str(other)]
    assert {"predictions_1.csv", "predictions_2.csv", "masks_2.png"} < set(result["files"])
    shown = cnnctl("evaluate", str(run), str(other), "--compare", "outputs=here").out
    assert ("within noise" in shown) is (told["better"] is None)


def test_a_net_is_no_better_than_its_copy(evaluate, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.ckpt"
    shutil.copy(run / "checkpoints" / "best.ckpt", copy)
    told = evaluate(run, copy, "--compare")["comparison"]
    assert (told["difference"], told["interval"], told["better"]) == (0, None, None)


def test_several_nets_together(evaluate, run: Path, other: Path) -> None:
    result = evaluate(run, other, "--ensemble", "flip=false")
    told = result["ensemble"]
    alone = [evaluate(one, "flip=false")["metrics"] for one in (run, other)]
    for member, wanted in zip(told["members"], alone, strict=True):
        assert member["metrics"] == pytest.approx(wanted, abs=1e-6)
    shares = [one["miou"] for one in alone]
    assert told["mean_miou"] == pytest.approx(sum(shares) / 2)
    assert told["best"] == shares.index(max(shares))
    gain = told["gain_over_mean"]["difference"]
    assert gain == pytest.approx(result["metrics"]["miou"] - told["mean_miou"])
    assert (result["run"], result["task"], result["n"]) == (None, "segment", 8)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("crops=ten",), "crops=ten has no effect on a net for masks, which sees images whole"),
        (("crops=dense", "scales=24,32"), "crops=dense has no effect on a net for masks"),
        (("robustness=noise,blur",), "robustness=noise,blur has no effect on a net for masks"),
        (("boundary=0",), "boundary must be above 0"),
        (("tile=1",), "tile must be 2 or more, the stride of the net, got 1"),
    ],
)
def test_what_has_no_effect_is_refused(cnnctl, run: Path, words, line: str) -> None:
    outcome = cnnctl("evaluate", str(run), *words, "outputs=here")
    assert outcome.code == 2
    assert line in outcome.err
    assert not Path("here").exists()


def test_weights_that_are_broken_are_told(cnnctl, run: Path) -> None:
    copy = Path("copy")
    shutil.copytree(run, copy, symlinks=True)
    file = copy / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)
    for value in saved["state_dict"].values():
        if value.is_floating_point():
            value.fill_(torch.nan)
    torch.save(saved, file)
    outcome = cnnctl("evaluate", str(copy), "checkpoint=last", "outputs=here")
    assert outcome.code == 1
    assert "the net gives no numbers for 8 of 8 images" in outcome.err
    assert not list(Path("here").glob("evaluate/*"))
