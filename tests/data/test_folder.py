from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import Folder
from cnnctl.config.read import read
from cnnctl.data import folder
from cnnctl.data.source import Source
from cnnctl.errors import DataError

PETS = {"cat": 4, "dog": 4}
LAYOUT = "(it must hold train/<class>/<image>)"
HINT = "(mend or remove it, or leave such files out with data.on_error=skip)"


def section(root: Path, **changes: Any) -> Folder:
    numbers = runs.read_config(paths.conf_dir() / "data" / "folder.yaml")
    numbers |= {"root": str(root), "size": 32, **changes}
    found, problems = read(Folder, numbers, "data")
    assert problems == []
    assert found is not None
    return found


def load(root: Path, **changes: Any) -> Source:
    return folder.load(section(root, **changes))


def refusal(root: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(root, **changes)
    return str(caught.value)


def test_every_split_is_read_in_the_order_of_the_classes(photos) -> None:
    root = photos({"test": {"cat": 1, "dog": 2}, "train": PETS, "val": {"cat": 2, "dog": 1}})
    source = load(root)
    assert source.classes == ("cat", "dog")
    assert list(source.sizes.items()) == [("train", 8), ("val", 3), ("test", 3)]
    assert list(source.splits["test"].labels) == [0, 1, 1]
    image, label = source.splits["test"][2]
    assert (image.dtype, tuple(image.shape), label) == (torch.uint8, (3, 32, 32), 1)
    assert torch.equal(image, torch.from_numpy(
        np.array(Image.open(root / "test/dog/1.png"))).permute(2, 0, 1))  # fmt: skip
    assert source.skipped == {}


def test_a_missing_val_is_split_off_stratified(photos) -> None:
    source = load(photos({"train": {"cat": 10, "dog": 20}}), val_fraction=0.2)
    assert source.sizes == {"train": 24, "val": 6}
    assert sorted(source.splits["val"].labels) == [0, 0, 1, 1, 1, 1]
    train, val = (set(source.splits[name].paths) for name in ("train", "val"))
    assert not train & val
    assert len(train | val) == 30


def test_the_split_off_val_follows_split_seed(photos) -> None:
    root = photos({"train": {"cat": 20, "dog": 20}})
    first, again, other = (load(root, split_seed=seed).splits["val"].paths for seed in (0, 0, 1))
    assert first == again != other


def test_images_below_a_class_folder_and_any_case_of_the_ending_count(photos) -> None:
    root = photos({"train": PETS})
    (root / "train/cat/more").mkdir()
    (root / "train/cat/0.png").rename(root / "train/cat/more/0.PNG")
    (root / "train/cat/notes.txt").write_text("no image")
    (root / "train/.hidden").mkdir()
    source = load(root)
    assert (source.classes, sum(source.sizes.values())) == (("cat", "dog"), 8)


def test_a_home_folder_may_be_meant_with_a_tilde(photos, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(photos({"train": PETS}).parent))
    assert load(Path("~/photos")).sizes == {"train": 6, "val": 2}


def test_a_root_that_is_missing_a_file_or_empty_is_refused(tmp_path) -> None:
    assert refusal(tmp_path / "no") == f"data.root is not a folder: {tmp_path / 'no'} {LAYOUT}"
    file = tmp_path / "file"
    file.touch()
    assert refusal(file) == f"data.root is not a folder: {file} {LAYOUT}"
    assert refusal(tmp_path) == f"{tmp_path} has no folder 'train' {LAYOUT}"
    (tmp_path / "train").mkdir()
    assert refusal(tmp_path) == f"{tmp_path / 'train'} has no class folders {LAYOUT}"


def test_one_class_is_refused(photos) -> None:
    root = photos({"train": {"cat": 2}})
    assert refusal(root) == f"{root / 'train'} has one class only: cat (give two or more)"


def test_an_empty_class_folder_is_refused(photos) -> None:
    root = photos({"train": {"cat": 2, "dog": 0}})
    endings = ".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
    assert refusal(root) == f"{root / 'train/dog'} has no images (known endings: {endings})"


@pytest.mark.parametrize("split", ["val", "test"])
def test_splits_with_other_classes_are_refused(photos, split) -> None:
    root = photos({"train": PETS, split: {"cat": 1, "dogs": 1}})
    train, other = root / "train", root / split
    near = "(did you mean 'dog'?)"
    assert refusal(root) == f"{other} has class 'dogs', which {train} lacks {near}"
    shutil.rmtree(other / "dogs")
    every = "(every split needs every class)"
    assert refusal(root) == f"{train} has class 'dog', which {other} lacks {every}"


def test_classes_are_compared_before_any_image_is_read(photos, monkeypatch) -> None:
    root = photos({"train": PETS, "test": {"cat": 1, "frog": 1}})
    monkeypatch.setattr(folder, "read_image", lambda *_: pytest.fail("an image was read"))
    assert refusal(root).startswith(f"{root / 'test'} has class 'frog', which")


def broken_files(root: Path) -> dict[Path, str]:
    """Breaks three files of the cats; returns what is said of each."""
    cats = root / "train/cat"
    (cats / "0.png").write_bytes(b"")
    (cats / "1.png").write_text("just text")
    Image.new("RGB", (200, 200), "red").save(cats / "2.jpg")
    whole = (cats / "2.jpg").read_bytes()
    (cats / "2.jpg").write_bytes(whole[: len(whole) // 2])
    return {
        cats / "0.png": "the file is empty",
        cats / "1.png": "not an image",
        cats / "2.jpg": r"image file is truncated \(\d+ bytes not processed\)",
    }


@pytest.mark.parametrize("number", range(3))
def test_a_broken_image_is_named(photos, number) -> None:
    root = photos({"train": PETS})
    said = broken_files(root)
    file, reason = list(said.items())[number]
    for other in said:
        if other != file:
            other.unlink()
    text = re.escape(f"cannot read image {file}: ") + reason + re.escape(f" {HINT}")
    assert re.fullmatch(text, refusal(root))


def test_the_first_of_several_broken_images_is_named_and_the_others_counted(photos) -> None:
    root = photos({"train": PETS})
    broken_files(root)
    text = f"cannot read image {root / 'train/cat/0.png'}: the file is empty, and 2 more in "
    assert refusal(root) == f"{text}{root / 'train/cat'} {HINT}"


def test_broken_images_are_left_out_and_listed_but_never_replaced(photos) -> None:
    root = photos({"train": {"cat": 8, "dog": 8}, "test": PETS})
    said = broken_files(root)
    (root / "test/dog/3.png").write_bytes(b"")
    source = load(root, on_error="skip")
    assert set(source.skipped) == {*map(str, said), str(root / "test/dog/3.png")}
    for file, reason in said.items():
        assert re.fullmatch(reason, source.skipped[str(file)])
    assert source.sizes == {"train": 12, "val": 2, "test": 7}
    used = [path for split in source.splits.values() for path in split.paths]
    assert len(set(used)) == 21
    assert not {str(path) for path in used} & set(source.skipped)


def test_a_class_with_nothing_left_is_refused(photos) -> None:
    root = photos({"train": {"cat": 1, "dog": 4}})
    (root / "train/cat/0.png").write_bytes(b"")
    assert refusal(root, on_error="skip").startswith(f"{root / 'train/cat'} has no images (known")


def test_without_verify_a_broken_image_is_named_when_it_is_wanted(photos) -> None:
    root = photos({"train": PETS, "val": PETS})
    (root / "train/dog/0.png").write_bytes(b"")
    source = load(root, verify=False)
    assert source.sizes == {"train": 8, "val": 8}
    with pytest.raises(DataError) as caught:
        source.splits["train"][4]
    file = root / "train/dog/0.png"
    assert str(caught.value) == f"cannot read image {file}: the file is empty"
