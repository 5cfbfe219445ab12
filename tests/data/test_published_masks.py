from __future__ import annotations

import re
from pathlib import Path

import formats_masks
import numpy as np
import pytest
from masked import names, pairs, refusal, section
from torchvision import datasets

from cnnctl import data
from cnnctl.config.masks import IGNORE
from cnnctl.data import decode, mask_files
from cnnctl.data.published_masks import SETS, VOC
from cnnctl.data.source import Source

ELSEWHERE = "or give the folder that holds it: data.root=FOLDER"
FIRST = {"voc": "VOCdevkit/VOC2012/JPEGImages", "oxford_pets_masks": "oxford-iiit-pet/images"}
Content = list[tuple[bytes, bytes]]


def opened(name: str, root: Path, **changes: object) -> Source:
    return data.load(section(name, **({"root": str(root), "download": False} | changes)))


def content(source: Source, *splits: str) -> Content:
    """Every image and mask as bytes, in an order that does not matter."""
    found = [
        pairs(source, split).pair(index) for split in splits for index in range(source.sizes[split])
    ]
    return sorted((image.numpy().tobytes(), mask.numpy().tobytes()) for image, mask in found)


def expected(written: list[tuple[np.ndarray, np.ndarray]]) -> Content:
    return sorted((image.tobytes(), mask.astype(np.uint8).tobytes()) for image, mask in written)


@pytest.mark.parametrize("name", SETS)
def test_every_image_and_mask_is_the_one_in_the_files(tmp_path, name) -> None:
    written = formats_masks.WRITERS[name](tmp_path)
    source = opened(name, tmp_path, val_fraction=0.3)
    assert list(source.splits) == ["train", "val", "test"]
    assert source.drawn == ("val",)
    assert content(source, "train", "val") == expected(written["train"])
    assert content(source, "test") == expected(written["test"])


@pytest.mark.parametrize("name", SETS)
def test_nothing_is_decoded_when_loading(tmp_path, name, monkeypatch) -> None:
    formats_masks.WRITERS[name](tmp_path)
    monkeypatch.setattr(decode, "image", lambda *_: pytest.fail("an image was decoded"))
    monkeypatch.setattr(mask_files, "values", lambda *_: pytest.fail("a mask was decoded"))
    for split in opened(name, tmp_path).splits.values():
        assert split.name(0).startswith(f"{tmp_path}/")
        assert split.labels.tolist() == [0] * len(split.labels)


@pytest.mark.parametrize("name", SETS)
def test_the_order_of_the_files_is_that_of_their_names(tmp_path, name) -> None:
    formats_masks.WRITERS[name](tmp_path)
    for split, found in opened(name, tmp_path).splits.items():
        told = [found.name(index) for index in range(len(found.labels))]
        assert told == sorted(told), split


@pytest.mark.parametrize("name", SETS)
def test_what_is_drawn_follows_the_seed_and_folds_leave_the_test_alone(tmp_path, name) -> None:
    written = formats_masks.WRITERS[name](tmp_path)
    found = [names(opened(name, tmp_path, split_seed=seed), "val") for seed in (0, 0, *range(9))]
    assert found[0] == found[1]
    assert len(set(map(tuple, found))) > 1
    folds = [opened(name, tmp_path, folds=3, fold=fold) for fold in range(3)]
    assert [fold.sizes["val"] for fold in folds] == [2, 2, 2]
    everything = [one for fold in folds for one in content(fold, "val")]
    assert sorted(everything) == expected(written["train"])
    assert all(content(fold, "test") == expected(written["test"]) for fold in folds)


def test_the_classes_of_voc_are_those_of_its_authors(tmp_path) -> None:
    formats_masks.voc(tmp_path)
    source = opened("voc", tmp_path)
    assert source.classes == VOC
    things = set(VOC) - {"background"}
    assert things == {
        "person", "bird", "cat", "cow", "dog", "horse", "sheep", "aeroplane", "bicycle", "boat",
        "bus", "car", "motorbike", "train", "bottle", "chair", "diningtable", "pottedplant",
        "sofa", "tvmonitor",
    }  # fmt: skip
    assert list(VOC[1:]) == sorted(things)


def test_the_classes_of_cityscapes_are_those_of_torchvision(tmp_path) -> None:
    formats_masks.cityscapes(tmp_path)
    classes = opened("cityscapes", tmp_path).classes
    assert (classes[0], classes[11], classes[18]) == ("road", "person", "bicycle")
    table = {one.train_id: one.name for one in datasets.Cityscapes.classes if one.train_id >= 0}
    assert [table[number] for number in range(19)] == list(classes)
    assert table.keys() - set(range(19)) == {IGNORE}


def test_the_classes_of_pets(tmp_path) -> None:
    formats_masks.pets(tmp_path)
    assert opened("oxford_pets_masks", tmp_path).classes == ("pet", "background", "border")


@pytest.mark.parametrize("name", FIRST)
def test_a_missing_set_says_what_was_looked_for(tmp_path, name) -> None:
    text = f"{SETS[name].title} is not in {tmp_path}: there is no {FIRST[name]}"
    hint = f"(data.download=true gets it, {ELSEWHERE})"
    assert refusal(lambda: opened(name, tmp_path)) == f"{text} {hint}"


def test_cityscapes_says_which_files_to_get_and_where_to_put_them(tmp_path) -> None:
    images, masks = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
    page = "https://www.cityscapes-dataset.com/downloads"
    wanted = (
        f"Cityscapes is not in {tmp_path}: there is no leftImg8bit/train or {images} "
        f"(get {images} and {masks} from {page} and put them there, {ELSEWHERE})"
    )
    assert refusal(lambda: opened("cityscapes", tmp_path)) == wanted
    assert refusal(lambda: opened("cityscapes", tmp_path, download=True)) == wanted
    formats_masks.cityscapes(tmp_path)
    (tmp_path / "gtFine/val").rename(tmp_path / "elsewhere")
    assert f"there is no gtFine/val or {masks} (get" in refusal(
        lambda: opened("cityscapes", tmp_path)
    )


@pytest.mark.parametrize("name", FIRST)
def test_offline_a_download_is_one_line(tmp_path, offline, name) -> None:
    reason = "[Errno -3] Temporary failure in name resolution"
    text = f"cannot download {SETS[name].title} to {tmp_path}: {reason}"
    wanted = f"{text} (try again later, {ELSEWHERE})"
    assert refusal(lambda: opened(name, tmp_path, download=True)) == wanted
    assert refusal(lambda: opened(name, tmp_path, download=True)) == wanted  # no mark is left


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("voc", "VOCdevkit/VOC2012/SegmentationClass/2007_000004.png"),
        ("voc", "VOCdevkit/VOC2012/JPEGImages/2007_000007.jpg"),
        ("oxford_pets_masks", "oxford-iiit-pet/annotations/trimaps/great_pyrenees_7.png"),
        ("cityscapes", "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png"),
    ],
)
def test_a_file_that_is_not_there_is_named(tmp_path, name, file) -> None:
    formats_masks.WRITERS[name](tmp_path)
    (tmp_path / file).unlink()
    text = refusal(lambda: opened(name, tmp_path))
    assert f"is incomplete or damaged: there is no {tmp_path / file} (" in text


@pytest.mark.parametrize("name", SETS)
def test_a_wrong_number_of_classes(tmp_path, name) -> None:
    formats_masks.WRITERS[name](tmp_path)
    count = section(name).__dict__["classes"]
    text = f"{SETS[name].title} in {tmp_path} has {count} classes, got data.classes=7"
    assert refusal(lambda: opened(name, tmp_path, classes=7)) == f"{text} (data.classes={count})"


def test_an_empty_split_is_damage(tmp_path) -> None:
    formats_masks.voc(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text("")
    text = f"PASCAL VOC 2012 in {tmp_path} is damaged: test has no images"
    assert refusal(lambda: opened("voc", tmp_path)) == text


def test_a_value_that_the_set_does_not_have(tmp_path) -> None:
    formats_masks.pets(tmp_path)
    folder = tmp_path / "oxford-iiit-pet/annotations/trimaps"
    for file in folder.iterdir():
        file.write_bytes((folder / "great_pyrenees_0.png").read_bytes())
    mask = np.zeros(formats_masks.SIZE, np.uint8)
    formats_masks.save(folder / "great_pyrenees_6.png", mask)
    found = pairs(opened("oxford_pets_masks", tmp_path), "test")
    assert re.search("great_pyrenees_6.png has the unknown value 0 in 252", refusal(
        lambda: found.pair(0)
    ))  # fmt: skip
