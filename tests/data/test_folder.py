from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import ENDINGS, KINDS, LAYOUT, PETS, load, names, refusal
from PIL import Image

from cnnctl.data import decode
from cnnctl.errors import DataError


def test_every_split_is_read_in_the_order_of_the_classes(photos) -> None:
    root = photos({"test": {"cat": 1, "dog": 2}, "train": PETS, "val": {"cat": 2, "dog": 1}})
    source = load(root)
    assert source.classes == ("cat", "dog")
    assert list(source.sizes.items()) == [("train", 8), ("val", 3), ("test", 3)]
    assert source.splits["test"].labels.tolist() == [0, 1, 1]
    image = source.splits["test"][2]
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 32, 32))
    stored = np.array(Image.open(root / "test/dog/1.png"))
    assert torch.equal(image, torch.from_numpy(stored).permute(2, 0, 1))
    assert (source.skipped, source.drawn) == ({}, ())


def test_nothing_is_decoded(photos, monkeypatch) -> None:
    root = photos({"train": PETS})
    monkeypatch.setattr(decode, "image", lambda *_: pytest.fail("an image was decoded"))
    (root / "train/cat/0.png").write_bytes(b"")
    assert load(root).sizes == {"train": 6, "val": 2}


def test_a_broken_image_is_named_when_it_is_wanted(photos) -> None:
    root = photos({"train": PETS, "val": PETS})
    file = root / "train/dog/0.png"
    file.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load(root).splits["train"][4]
    assert str(caught.value) == f"cannot read image {file}: the file is empty"


def test_a_missing_val_is_drawn_from_train_stratified(photos) -> None:
    source = load(photos({"train": {"cat": 10, "dog": 20}}), val_fraction=0.2)
    assert source.sizes == {"train": 24, "val": 6}
    assert sorted(source.splits["val"].labels) == [0, 0, 1, 1, 1, 1]
    train, val = set(names(source, "train")), set(names(source, "val"))
    assert not train & val
    assert len(train | val) == 30
    assert source.drawn == ("val",)


def test_what_is_drawn_follows_split_seed(photos) -> None:
    root = photos({"train": {"cat": 20, "dog": 20}})
    first, again, other = (names(load(root, split_seed=seed), "val") for seed in (0, 0, 1))
    assert first == again != other


def test_a_missing_test_split_is_drawn_if_wanted(photos) -> None:
    root = photos({"train": {"cat": 10, "dog": 10}})
    source = load(root, val_fraction=0.2, test_fraction=0.3)
    assert list(source.sizes.items()) == [("train", 10), ("val", 4), ("test", 6)]
    assert source.drawn == ("val", "test")
    root = photos({"train": {"cat": 10, "dog": 10}, "val": PETS}, name="other")
    source = load(root, test_fraction=0.3)
    assert list(source.sizes.items()) == [("train", 14), ("val", 8), ("test", 6)]
    assert source.drawn == ("test",)


def test_a_share_for_a_test_split_that_is_there_is_refused(photos) -> None:
    root = photos({"train": PETS, "test": PETS})
    text = "data.test_fraction has no effect: the data has a test split (data.test_fraction=null)"
    assert refusal(root, test_fraction=0.3) == text


def test_folds_are_cut_from_train_and_val_together(photos) -> None:
    root = photos({"train": {"cat": 4, "dog": 8}, "val": {"cat": 2, "dog": 1}, "test": PETS})
    turns = [load(root, folds=3, fold=fold) for fold in range(3)]
    assert [turn.sizes for turn in turns] == [{"train": 10, "val": 5, "test": 8}] * 3
    seen = [name for turn in turns for name in names(turn, "val")]
    everything = names(load(root), "train") + names(load(root), "val")
    assert sorted(seen) == sorted(everything)
    for turn in turns:
        assert turn.drawn == ("val",)
        assert set(turn.splits["val"].labels) == {0, 1}
        for split in ("train", "val"):
            images = turn.splits[split]
            for index, name in enumerate(names(turn, split)):
                assert turn.classes[images.labels[index]] == Path(name).parent.name
            last = len(images.labels) - 1
            stored = np.array(Image.open(images.name(last)))
            assert torch.equal(images[last], torch.from_numpy(stored).permute(2, 0, 1))


def test_class_folders_may_stand_under_the_root(photos) -> None:
    root = photos({".": {"cat": 10, "dog": 10}})
    source = load(root)
    assert source.sizes == {"train": 18, "val": 2}
    assert source.classes == ("cat", "dog")


def test_val_may_be_called_valid(photos) -> None:
    root = photos({"train": PETS, "valid": {"cat": 1, "dog": 2}})
    assert load(root).sizes == {"train": 8, "val": 3}
    shutil.rmtree(root / "valid/dog")
    text = f"{root / 'train'} has class 'dog', which {root / 'valid'} lacks"
    assert refusal(root) == f"{text} (every split needs every class)"


def test_a_home_folder_may_be_meant_with_a_tilde(photos, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(photos({"train": PETS}).parent))
    assert load("~/photos").sizes == {"train": 6, "val": 2}


def test_a_root_that_is_missing_of_no_known_kind_or_empty_is_refused(tmp_path) -> None:
    assert refusal(tmp_path / "no") == f"data.root does not exist: {tmp_path / 'no'} {KINDS}"
    file = tmp_path / "photos.rar"
    file.touch()
    assert refusal(file) == f"data.root is of no known kind: {file} {KINDS}"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(empty) == f"{empty} has neither a folder 'train' nor class folders {LAYOUT}"


def test_one_class_is_refused(photos) -> None:
    root = photos({"train": {"cat": 2}})
    assert refusal(root) == f"{root / 'train'} has one class only: cat (give two or more)"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_empty_class_is_refused(photos, split) -> None:
    root = photos({"train": PETS, "val": PETS, "test": PETS} | {split: {"cat": 2, "dog": 0}})
    assert refusal(root) == f"{root / split} has no images of class 'dog' {ENDINGS}"


@pytest.mark.parametrize("split", ["val", "test"])
def test_splits_with_other_classes_are_refused(photos, split) -> None:
    root = photos({"train": PETS, split: {"cat": 1, "dogs": 1}})
    train, other = root / "train", root / split
    near = "(did you mean 'dog'?)"
    assert refusal(root) == f"{other} has class 'dogs', which {train} lacks {near}"
    shutil.rmtree(other / "dogs")
    every = "(every split needs every class)"
    assert refusal(root) == f"{train} has class 'dog', which {other} lacks {every}"


def test_listed_images_are_left_out_of_every_split(photos) -> None:
    root = photos({"train": PETS, "val": PETS, "test": PETS})
    Path("bad.txt").write_text("train/cat/0.png\tblurred\ntest/dog/3.png\n")
    source = load(root, quarantine="bad.txt")
    assert source.sizes == {"train": 7, "val": 8, "test": 7}
    first, second = (str(root / name) for name in ("train/cat/0.png", "test/dog/3.png"))
    assert source.skipped == {first: "blurred", second: "listed in bad.txt"}
    assert not {first, second} & {*names(source, "train"), *names(source, "test")}
