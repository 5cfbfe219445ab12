from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cnnctl.config import compose, preflight
from cnnctl.data import check, strays
from cnnctl.data.check import quarantine

CLASSES = ("cat", "dog")
SIZE = 32


def draw(seed: int, size: int = SIZE) -> Image.Image:
    """Coarse colours; any two have nothing to do with each other."""
    coarse = np.random.default_rng(seed).integers(30, 226, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve images of each class to train on, four to validate, four to test."""
    place, seed = tmp_path / "photos", 0
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        for name in CLASSES:
            folder = place / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                draw(seed).save(folder / f"{number:02}.png")
                seed += 1
    return place


def configured(root: Path, **changes: Any) -> Any:
    with compose.opened():
        words = ["data=folder", f"data.root='{root}'", "data.size=32"]
        train, problems = preflight.check(*compose.compose("train", words))
    assert not problems
    assert train is not None
    return dataclasses.replace(train.data, **changes)


def checked(root: Path, **changes: Any) -> check.Document:
    data = configured(root, **changes)
    return check.check(strays.load(data), data, lambda *_: None)


def found(document: check.Document) -> dict[str, Any]:
    return {kind: rows for kind, rows in document["findings"].items() if rows}


def names(group: dict[str, Any], root: Path) -> list[str]:
    return [str(Path(one["name"]).relative_to(root)) for one in group["images"]]


def left_out(document: check.Document, root: Path) -> dict[str, str]:
    return {str(Path(name).relative_to(root)): why for name, why in quarantine(document)}


def test_nothing_is_wrong_with_good_data(root: Path) -> None:
    told: list[tuple[str, int, int]] = []
    data = configured(root)
    document = check.check(strays.load(data), data, lambda *done: told.append(done))
    assert found(document) == {}
    assert document["wrong"] == []
    assert list(quarantine(document)) == []
    assert told == [("checking train", 24, 24), ("checking val", 8, 8), ("checking test", 8, 8)]


def test_the_figures_of_a_data_set(root: Path) -> None:
    draw(99, 64).save(root / "train/cat/large.png")
    Image.new("L", (20, 10)).save(root / "train/cat/tiny.png")
    document = checked(root)
    assert document["classes"] == ["cat", "dog"]
    train = {"images": 26, "broken": 0, "classes": {"cat": 14, "dog": 12}}
    assert document["splits"]["train"] == train
    assert document["balance"] == {
        "largest": {"class": "cat", "images": 14}, "smallest": {"class": "dog", "images": 12},
        "ratio": 1.17, "few": 10,
    }  # fmt: skip
    assert document["sizes"] == {
        "min": {"height": 10, "width": 20}, "median": {"height": 32, "width": 32},
        "max": {"height": 64, "width": 64}, "alike": False, "wanted": 32, "enlarged": 1,
        "images": 42,
    }  # fmt: skip
    assert (document["formats"], document["modes"]) == ({"PNG": 42}, {"RGB": 41, "L": 1})


def test_broken_images_are_named_with_the_reason(root: Path) -> None:
    (root / "train/cat/00.png").write_bytes(b"")
    whole = (root / "test/dog/01.png").read_bytes()
    (root / "test/dog/01.png").write_bytes(whole[: len(whole) // 2])
    document = checked(root)
    empty, cut = document["findings"]["broken"]
    name = str(root / "train/cat/00.png")
    assert empty == {
        "split": "train", "index": 0, "name": name, "class": "cat", "reason": "the file is empty"
    }  # fmt: skip
    assert (cut["split"], cut["class"]) == ("test", "dog")
    assert document["wrong"] == ["broken"]
    assert left_out(document, root)["train/cat/00.png"] == "broken: the file is empty"
    assert set(left_out(document, root)) == {"train/cat/00.png", "test/dog/01.png"}


def test_nothing_but_broken_images(root: Path) -> None:
    for file in root.rglob("*.png"):
        file.write_bytes(b"")
    document = checked(root)
    assert len(document["findings"]["broken"]) == 40
    assert document["sizes"] is None
    assert document["channels"] is None


@pytest.mark.parametrize(
    ("name", "kind"), [("copy.png", "bytes"), ("copy.bmp", "pixels"), ("copy.webp", "pixels")]
)
def test_equal_images_in_one_split(root: Path, name: str, kind: str) -> None:
    first, copy = root / "train/cat/03.png", root / "train/cat" / name
    Image.open(first).save(copy, **({"lossless": True} if copy.suffix == ".webp" else {}))
    shutil.copy(first, root / "train/cat/zz.png")
    (group,) = checked(root)["findings"]["duplicates"]
    assert names(group, root) == ["train/cat/03.png", f"train/cat/{name}", "train/cat/zz.png"]
    assert group["kind"] == ("pixels" if kind == "pixels" else group["kind"])
    document = checked(root)
    assert document["wrong"] == []
    assert left_out(document, root) == dict.fromkeys(
        [f"train/cat/{name}", "train/cat/zz.png"], f"equal to {first}"
    )


@pytest.mark.parametrize("split", ["val", "test"])
def test_equal_images_in_two_splits(root: Path, split: str) -> None:
    other = root / split / "cat/00.png"
    for name in ("x.png", "y.png"):
        shutil.copy(other, root / "train/cat" / name)
    document = checked(root)
    (group,) = document["findings"]["leaks"]
    assert group["kind"] == "bytes"
    assert {one["split"] for one in group["images"]} == {"train", split}
    assert document["findings"]["duplicates"] == []
    assert document["wrong"] == ["leaks"]
    reason = f"equal to {other} of {split}"
    assert left_out(document, root) == {"train/cat/x.png": reason, "train/cat/y.png": reason}


def test_what_leaks_between_val_and_test_stays_in(root: Path) -> None:
    shutil.copy(root / "val/cat/00.png", root / "test/cat/x.png")
    document = checked(root)
    assert document["wrong"] == ["leaks"]
    assert list(quarantine(document)) == []


def test_images_that_look_equal(root: Path) -> None:
    image = Image.open(root / "train/dog/05.png")
    image.resize((48, 48)).save(root / "train/dog/larger.jpg", quality=85)
    ImageEnhance.Brightness(Image.open(root / "val/cat/01.png")).enhance(0.9).save(
        root / "train/cat/darker.png"
    )
    document = checked(root)
    assert document["near"] == {"told": True, "distance": 4}
    (near,), (leak,) = document["findings"]["near"], document["findings"]["leaks"]
    assert names(near, root) == ["train/dog/05.png", "train/dog/larger.jpg"]
    assert (near["kind"], leak["kind"]) == ("near", "near")
    assert names(leak, root) == ["train/cat/darker.png", "val/cat/01.png"]
    looks = f"looks like {root / 'val/cat/01.png'} of val"
    assert left_out(document, root) == {"train/cat/darker.png": looks}


def test_copies_of_what_leaks_are_left_out_too(root: Path) -> None:
    image = Image.open(root / "train/cat/01.png")
    shutil.copy(root / "train/cat/01.png", root / "train/cat/same.png")
    image.save(root / "test/cat/again.jpg", quality=85)
    document = checked(root)
    assert set(left_out(document, root)) == {"train/cat/01.png", "train/cat/same.png"}


def test_one_image_of_two_classes(root: Path) -> None:
    shutil.copy(root / "train/cat/02.png", root / "train/dog/x.png")
    document = checked(root)
    (group,) = document["findings"]["conflicts"]
    assert [one["class"] for one in group["images"]] == ["cat", "dog"]
    assert document["wrong"] == ["conflicts"]


def test_wrong_names_and_unknown_endings_are_told_and_do_no_harm(root: Path) -> None:
    draw(98).save(root / "train/cat/x.jpg", "PNG")
    draw(97).save(root / "train/cat/y.jfif", "JPEG")
    document = checked(root)
    assert set(found(document)) == {"misnamed", "unlisted"}
    assert document["findings"]["misnamed"][0]["format"] == "PNG"
    unlisted = {"name": str(root / "train/cat/y.jfif"), "format": "JPEG"}
    assert document["findings"]["unlisted"] == [unlisted]
    assert document["wrong"] == []


def test_classes_that_differ_and_classes_of_few_images(root: Path) -> None:
    (root / "test/eel").mkdir()
    draw(99).save(root / "test/eel/0.png")
    document = checked(root)
    assert document["wrong"] == ["refused", "classes"]
    assert document["findings"]["classes"] == [{"class": "eel", "lacking": ["train", "val"]}]
    assert document["findings"]["rare"] == [{"class": "eel", "images": 0}]
    assert document["balance"]["ratio"] is None


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [(0.0, 1.0, False), (0.1, 1.0, True), (0.0, 1.3, True), (0.0, 0.7, True)],
)
def test_mean_and_deviation_are_compared(root: Path, mean: float, std: float, expected) -> None:
    own = checked(root)["channels"]
    changed = {
        "mean": [one + mean for one in own["mean"]],
        "std": [one * std for one in own["std"]],
    }
    told = checked(root, **changed)["channels"]
    assert told["differ"] is expected
    assert (told["mean"], told["data_mean"]) == (own["mean"], changed["mean"])


def test_a_quarantine_makes_the_data_good(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "test/cat/00.png", root / "train/cat/x.png")
    shutil.copy(root / "train/dog/00.png", root / "train/dog/y.png")
    (root / "train/dog/z.png").write_bytes(b"no image")
    rows = list(quarantine(checked(root)))
    listed = tmp_path / "listed.txt"
    listed.write_text("# a head\n" + "".join(f"{name}\t{why}\n" for name, why in rows))
    document = checked(root, quarantine=str(listed))
    assert found(document) == {}
    assert document["left_out"] == dict(rows)
