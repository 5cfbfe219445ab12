from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnctl.config import compose, preflight
from cnnctl.config.images import Data
from cnnctl.data import strays
from cnnctl.errors import DataError

Photos = Callable[..., Path]
SMALL = {split: {"cat": count, "dog": count} for split, count in (("train", 4), ("test", 2))}


def configured(root: Path, **changes: Any) -> Data:
    with compose.opened():
        words = ["data=folder", f"data.root='{root}'", "data.size=32"]
        train, problems = preflight.check(*compose.compose("train", words))
    assert not problems
    assert train is not None
    return dataclasses.replace(train.data, **changes)


def test_a_whole_folder_is_loaded_as_training_does(photos: Photos) -> None:
    loaded = strays.load(configured(photos(SMALL)))
    assert loaded.refused is None
    assert loaded.source.sizes == {"train": 6, "val": 2, "test": 4}


def test_a_broken_image_stops_nothing(photos: Photos) -> None:
    root = photos(SMALL)
    (root / "train/cat/0.png").write_bytes(b"")
    loaded = strays.load(configured(root))
    assert loaded.refused is None
    assert sum(loaded.source.sizes.values()) == 12


def test_splits_that_do_not_agree_are_taken_as_they_are(photos: Photos) -> None:
    root = photos({"train": {"cat": 3, "dog": 3, "owl": 2}, "test": {"cat": 2, "eel": 1}})
    source, refused = strays.load(configured(root))
    assert refused is not None
    assert "has class 'eel'" in refused
    assert source.classes == ("cat", "dog", "eel", "owl")
    assert source.splits["train"].labels.tolist() == [0] * 3 + [1] * 3 + [3] * 2
    assert source.splits["test"].labels.tolist() == [0] * 2 + [2]
    assert source.splits["test"].name(2) == str(root / "test/eel/0.png")
    assert source.splits["test"][2].shape == (3, 32, 32)


@pytest.mark.parametrize("splits", [{"train": {"cat": 1, "dog": 5}}, {"train": {"cat": 5}}])
def test_too_few_images_or_classes_stop_nothing(photos: Photos, splits) -> None:
    loaded = strays.load(configured(photos(splits)))
    assert loaded.refused
    assert loaded.source.sizes == {"train": sum(splits["train"].values())}


def test_what_cannot_be_listed_is_an_error(photos: Photos, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "train" / "cat").mkdir(parents=True)
    for root in (empty, tmp_path / "nowhere", tmp_path / "home"):
        with pytest.raises(DataError, match=str(root)):
            strays.load(configured(root))


def test_a_mistake_in_a_quarantine_is_an_error(photos: Photos, tmp_path: Path) -> None:
    listed = tmp_path / "listed.txt"
    listed.write_text("nothing.png\n")
    with pytest.raises(DataError, match=r"nothing\.png"):
        strays.load(configured(photos(SMALL), quarantine=str(listed)))


def test_images_with_an_ending_that_is_not_known(photos: Photos) -> None:
    root = photos(SMALL)
    image = root / "train/cat/0.png"
    for name in ("a.jfif", "b", "c.png.bak", "D.PNG_"):
        shutil.copy(image, root / "train/cat" / name)
    shutil.copy(image, root / "beside")
    (root / ".hidden").mkdir()
    shutil.copy(image, root / ".hidden/x")
    shutil.copy(image, root / "train/.y")
    (root / "train/cat/notes.txt").write_text("four cats")
    (root / "train/cat/empty").write_bytes(b"")
    source = strays.load(configured(root)).source
    found = strays.unlisted(root, source)
    assert set(found.values()) == {"PNG"}
    names = ["beside", "train/cat/D.PNG_", "train/cat/a.jfif", "train/cat/b", "train/cat/c.png.bak"]
    assert list(found) == [str(root / name) for name in names]


def test_classes_that_a_split_lacks(photos: Photos) -> None:
    root = photos({"train": {"cat": 2, "dog": 2}, "val": {"cat": 1}, "test": {"dog": 1, "eel": 1}})
    (root / "val" / "dog").mkdir()  # without an image
    assert strays.lacking(root) == {"cat": ["test"], "dog": ["val"], "eel": ["train", "val"]}
    assert strays.lacking(photos(SMALL, name="whole")) == {}
