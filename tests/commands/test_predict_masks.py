from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import targets
import torch
from PIL import Image
from torch.nn.functional import interpolate

from cnnctl.cli import main
from cnnctl.commands import trained

FAST = ("hardware=cpu", "progress=none")
TINY = ("data=shapes", "data.images=24", "data.size=32", "data.batch_size=4", "trainer.max_steps=8")
NAMES = ("background", "disc", "square", "triangle")


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
def flipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A padded one that sees images at a half, and their mirror images."""
    words = ("model=unet_small", "model.widths=[4,6]", "data.resize=24", "trainer.test_flip=true")
    return train(tmp_path_factory.mktemp("flipped"), *words)


def photo(name: str, height: int, width: int, mode: str = "RGB") -> str:
    """Patches of colour."""
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(height).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((width, height)).convert(mode).save(file)
    return name


def result(cnnctl: Any, *words: str, code: int = 0) -> dict[str, Any]:
    outcome = cnnctl("predict", *words, FAST[0], "--json")
    assert (outcome.code, outcome.err) == (code, "")
    return outcome.document["result"]


def values(file: str) -> np.ndarray:
    return np.asarray(Image.open(file))


def net(run: Path) -> Any:
    one = targets.found(str(run))
    return trained.net(one, NAMES).eval()


def pixels(name: str) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(name)).transpose(2, 0, 1).copy())[None]


def normalised(run: Path, given: torch.Tensor) -> torch.Tensor:
    data = targets.found(str(run)).train.data
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (data.mean, data.std))
    return (given / 255 - mean) / std


def test_a_mask_has_the_size_of_its_image_and_the_classes_of_the_net(cnnctl, run: Path) -> None:
    name = photo("one.png", 45, 61)
    found = result(cnnctl, str(run), name, "output=out")
    (row,) = found["predictions"]
    with torch.no_grad():
        wanted = net(run)(normalised(run, pixels(name))).argmax(1)[0].numpy()
    assert (values(row["mask"]) == wanted).mean() > 0.999
    with Image.open(row["mask"]) as opened, Image.open(row["overlay"]) as overlay:
        assert (opened.mode, opened.size, overlay.size) == ("P", (61, 45), (61, 45))
    assert (row["height"], row["width"]) == (45, 61)
    assert (found["folder"], found["classes"], found["tile"]) == ("out", list(NAMES), None)


def test_the_classes_are_counted_the_largest_first(cnnctl, run: Path) -> None:
    (row,) = result(cnnctl, str(run), photo("one.png", 45, 61))["predictions"]
    counts = np.bincount(values(row["mask"]).ravel(), minlength=4)
    told = {one["class"]: one["pixels"] for one in row["classes"]}
    assert told == {name: count for name, count in zip(NAMES, counts, strict=True) if count}
    assert [one["pixels"] for one in row["classes"]] == sorted(told.values(), reverse=True)
    assert sum(one["share"] for one in row["classes"]) == pytest.approx(1)


def test_images_are_resized_for_the_net_and_its_logits_back(cnnctl, flipped: Path) -> None:
    """Two to one, so that torch's antialiasing is plain; the mirror image counts as much."""
    name = photo("one.png", 48, 72)
    (row,) = result(cnnctl, str(flipped), name)["predictions"]
    half = interpolate(pixels(name), (24, 36), mode="bilinear", antialias=True)
    half = normalised(flipped, half)
    made = net(flipped)
    with torch.no_grad():
        logits = (made(half) + made(half.flip(3)).flip(3)) / 2
    large = interpolate(logits, (48, 72), mode="bilinear", align_corners=False)
    assert (values(row["mask"]) == large.argmax(1)[0].numpy()).mean() > 0.999


@pytest.mark.parametrize("fixture", ["run", "flipped"])
def test_tiles_give_the_masks_of_one_pass(cnnctl, request, fixture: str) -> None:
    which, name = request.getfixturevalue(fixture), photo("one.png", 70, 93)
    whole = result(cnnctl, str(which), name, "output=whole")["predictions"][0]
    tiled = result(cnnctl, str(which), name, "output=tiled", "tile=32")
    part = tiled["predictions"][0]
    assert tiled["tile"] == 32
    assert (values(whole["mask"]) == values(part["mask"])).mean() > 0.999


def test_names_do_not_collide_whatever_the_folders(cnnctl, run: Path) -> None:
    names = ["a/1.png", "b/1.png", "b/1.jpg", "a/1-2.png", "A.png", "a.png"]
    for place, name in enumerate(names):
        photo(name, 20 + place, 30)
    found = result(cnnctl, str(run), *names, "output=out")
    masks = [row["mask"] for row in found["predictions"]]
    assert [row["file"] for row in found["predictions"]] == names
    assert len({Path(mask).name.casefold() for mask in masks}) == len(names)
    assert [values(mask).shape[0] for mask in masks] == [20 + place for place in range(6)]
    assert Path(masks[0]).name == "1.png"
    kept = json.loads(Path("out/result.json").read_text())
    assert [row["mask"] for row in kept["predictions"]] == masks


def test_grey_palette_and_turned_images_are_read_as_they_are_seen(cnnctl, run: Path) -> None:
    photo("grey.png", 20, 31, "L")
    photo("palette.png", 22, 33, "P")
    picture = Image.open(photo("upright.png", 40, 24))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture.save("turned.jpg", exif=exif)
    frames = [Image.new("L", (20, 16), value) for value in (0, 200)]
    frames[0].save("two.tif", save_all=True, append_images=frames[1:])
    names = ("grey.png", "palette.png", "turned.jpg", "two.tif")
    rows = result(cnnctl, str(run), *names)["predictions"]
    sizes = [values(row["mask"]).shape for row in rows]
    assert sizes == [(20, 31), (22, 33), (24, 40), (16, 20)]
    assert [row["note"] for row in rows] == [None, None, None, "first of 2 pages"]


def test_what_cannot_be_read_is_left_out_and_the_rest_is_kept(cnnctl, run: Path) -> None:
    Path("bad.png").write_text("no image")
    found = result(cnnctl, str(run), "bad.png", photo("one.png", 20, 20), code=1)
    assert found["failed"] == [{"file": "bad.png", "reason": "not an image"}]
    assert [row["file"] for row in found["predictions"]] == ["one.png"]
    found = result(cnnctl, str(run), "bad.png", "output=out", code=1)
    assert (found["predictions"], found["folder"], Path("out").exists()) == ([], None, False)


def test_without_output_there_is_a_folder_under_outputs(cnnctl, run: Path) -> None:
    found = result(cnnctl, str(run), photo("one.png", 20, 20), "outputs=here")
    folder = Path(found["folder"])
    assert folder.parent == Path("here/predict")
    assert "_unet_shapes_" in folder.name
    assert sorted(one.name for one in folder.iterdir()) == ["masks", "overlays", "result.json"]


def test_a_folder_with_something_in_it_stays_as_it_is(cnnctl, run: Path) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    outcome = cnnctl("predict", str(run), photo("one.png", 20, 20), "output=out")
    assert outcome.code == 2
    assert outcome.err.startswith("cnnctl: error: out is not empty")
    assert [one.name for one in Path("out").iterdir()] == ["mine.txt"]


def test_the_table_names_the_largest_classes(cnnctl, run: Path) -> None:
    names = [photo("one.png", 20, 20), photo("two.png", 30, 20)]
    out = cnnctl("predict", str(run), *names, "output=out", FAST[0]).out
    lines = out.splitlines()
    assert lines[0].split() == ["file", "mask", "classes"]
    assert lines[2].split()[:2] == ["one.png", "one.png"]
    assert " % · " in lines[2]
    assert lines[-1].split() == ["folder", "out"]


def test_of_one_image_each_class_has_a_row(cnnctl, run: Path) -> None:
    out = cnnctl("predict", str(run), photo("one.png", 20, 20), "output=out", FAST[0]).out
    lines = [line.split() for line in out.splitlines()]
    assert lines[:2] == [["one.png"], ["class", "pixels", "share"]]
    assert lines[-2:] == [["mask", "out/masks/one.png"], ["overlay", "out/overlays/one.jpg"]]


def test_the_csv_has_a_row_for_each_file_and_class(cnnctl, run: Path) -> None:
    words = [str(run), photo("one.png", 20, 20), "output=out", "format=csv", "top=1", FAST[0]]
    (row,) = csv.DictReader(io.StringIO(cnnctl("predict", *words).out))
    counts = np.bincount(values("out/masks/one.png").ravel(), minlength=4)
    assert (row["file"], row["mask"]) == ("one.png", "out/masks/one.png")
    assert row["class"] == NAMES[int(counts.argmax())]
    assert int(row["pixels"]) == counts.max()
    assert float(row["share"]) == counts.max() / 400


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("top=5", "top must be at most 4, as the net knows 4 classes, got 5 (top=4)"),
        ("tile=3", "tile must be 4 or more, the stride of the net, got 3 (tile=4, or more: 256)"),
        ("tile=0", "tile must be at least 1, got 0"),
        ("tiles=8", "unknown key 'tiles' (did you mean 'tile'?)"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(cnnctl, run: Path, word: str, told: str) -> None:
    outcome = cnnctl("predict", str(run), photo("one.png", 20, 20), "output=out", word, FAST[0])
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"cnnctl: error: {told}\n"
    assert not Path("out").exists()


@pytest.mark.parametrize("word", ["tile=64", "output=out"])
def test_a_net_that_names_one_class_writes_no_pictures(cnnctl, tmp_path: Path, word: str) -> None:
    one = targets.short_run(tmp_path / "digits")
    outcome = cnnctl("predict", str(one), photo("one.png", 20, 20), word)
    assert outcome.code == 2
    assert outcome.err.startswith(f"cnnctl: error: {word} ")
    assert "this net gives a class for each image" in outcome.err
    assert not Path("out").exists()


def test_what_is_finished_stays_when_a_disk_is_full(cnnctl, run: Path, monkeypatch) -> None:
    from cnnctl.report import mask_files

    write, done = mask_files.overlay, []

    def full(*args: Any) -> None:
        if done:
            raise OSError(28, "No space left on device")
        done.append(write(*args))

    monkeypatch.setattr(mask_files, "overlay", full)
    names = [photo("one.png", 20, 20), photo("two.png", 30, 20)]
    outcome = cnnctl("predict", str(run), *names, "output=out", FAST[0])
    assert outcome.code == 2
    assert outcome.err.startswith("cnnctl: error: cannot write in out: No space left on device")
    assert values("out/masks/one.png").shape == (20, 20)
    assert not Path("out/result.json").exists()
