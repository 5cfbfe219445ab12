"""`cnnctl data` on images with masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from masked import cells, mask, save
from PIL import Image

FAST = ("hardware=cpu", "progress=none")
NAMED = ("data.classes=[background,cell]", "data.size=8")


def test_shapes_are_good(cnnctl) -> None:
    outcome = cnnctl("data", "check", "shapes", "data.images=60", "data.size=32", "--json")
    assert outcome.code == 0
    result = outcome.document["result"]
    assert {name: split["images"] for name, split in result["splits"].items()} == {
        "train": 42, "val": 6, "test": 12
    }  # fmt: skip
    assert sum(result["splits"]["train"]["pixels"].values()) == 42 * 32 * 32
    assert result["wrong"] == []


def test_a_folder_of_images_and_masks_is_known_by_its_folders(cnnctl) -> None:
    cells(Path("mine"), 12)
    outcome = cnnctl("data", "check", "mine", *NAMED)
    assert outcome.code == 0
    assert outcome.out.startswith("data     folder_masks · mine\n")
    for split in ("train", "test"):
        cells(Path("parts"), 6, split)
    result = cnnctl("data", "check", "parts", *NAMED, "--json").document["result"]
    assert list(result["splits"]) == ["train", "val", "test"]


def test_faults_are_the_exit_code_and_named(cnnctl) -> None:
    cells(Path("mine"), 12)
    save(Path("mine/masks/3.png"), mask(3) + np.uint8(7))
    Path("mine/masks/4.png").unlink()
    outcome = cnnctl("data", "check", "mine", *NAMED, "--report", "page.html")
    assert outcome.code == 1
    assert "images/4.png  has no mask: there is no masks/4.png" in outcome.out
    assert "images/3.png  mask mine/masks/3.png has the unknown value" in outcome.out
    page = Path("page.html").read_text()
    assert "Pixels of each class" in page
    assert page.count("data:image/png") >= 2 * 2 * 6  # image and mask, six of each class


def test_without_a_legend_the_command_says_what_to_type(cnnctl) -> None:
    cells(Path("mine"), 6, scale=255)
    outcome = cnnctl("data", "check", "mine")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.endswith("(data.classes=[background,class1] data.values=[0,255])")
    Path("mine/classes.txt").write_text("background 0\ncell 255\n")
    assert cnnctl("data", "check", "mine").code == 0


def test_a_sheet_shows_image_and_mask(cnnctl) -> None:
    cells(Path("mine"), 12)
    outcome = cnnctl("data", "show", "mine", *NAMED, "augment=flip_crop", *FAST, "--json")
    result = outcome.document["result"]
    assert (outcome.code, outcome.err) == (0, "")
    assert (result["file"], result["epochs"]) == ("mine_flip_crop.png", 3)
    assert len(result["images"]) == 8
    with Image.open("mine_flip_crop.png") as sheet:
        assert sheet.width > 8 * 96
    assert cnnctl("data", "show", "shapes", "data.images=20", *FAST).code == 0


def test_a_sheet_passes_over_what_cannot_be_used(cnnctl) -> None:
    cells(Path("mine"), 12)
    Path("mine/masks/4.png").unlink()
    Path("mine/images/5.png").write_bytes(b"")
    outcome = cnnctl("data", "show", "mine", *NAMED, "augment=none", *FAST, "--json")
    shown = {Path(one["name"]).name for one in outcome.document["result"]["images"]}
    assert outcome.code == 0
    assert not shown & {"4.png", "5.png"}


@pytest.mark.parametrize("name", ["shapes", "voc", "mine"])
def test_masks_have_no_cache(cnnctl, name) -> None:
    cells(Path("mine"), 6)
    words = NAMED if name == "mine" else ()
    outcome = cnnctl("data", "cache", name, *words, *FAST)
    text = f"there is no cache of images with masks, such as {name}"
    hint = "training holds them in memory if they fit"
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"cnnctl: error: {text} ({hint})\n"


def test_a_quarantine_is_not_for_masks(cnnctl) -> None:
    outcome = cnnctl("data", "check", "shapes", "--quarantine", "q.txt")
    assert outcome.code == 2
    assert outcome.err.startswith("cnnctl: error: --quarantine has no effect on shapes")


def test_a_smoke_run_on_masks_needs_none_of_them(cnnctl) -> None:
    words = ("data=voc", "model=unet_small", "model.widths=[2,2,2,2,2]", "loss=cross_entropy")
    weights = f"loss.weights=[{','.join(['1'] * 21)}]"
    outcome = cnnctl("train", *words, weights, *FAST, "--smoke", "--json")
    assert outcome.code == 0
    result = outcome.document["result"]
    assert result["epochs"] == 2
    assert set(result["test"]) >= {"miou", "dice", "pixel_accuracy", "loss"}
