from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from masked import cells, load, mask, names, pairs, photo, refusal, save

from cnnctl.data import decode, folder_masks, mask_files
from cnnctl.errors import DataError

LAYOUT = "(it must hold images/ and masks/, or train/images/, train/masks/ and so on)"
SKIP = "(mend or remove it, or leave such files out with data.on_error=skip)"


def test_image_and_mask_are_those_of_one_name(tmp_path) -> None:
    source = load(cells(tmp_path, 12))
    assert (source.classes, source.sizes) == (("background", "cell"), {"train": 11, "val": 1})
    assert (source.drawn, source.skipped) == (("val",), {})
    for split in source.splits:
        found = pairs(source, split)
        for index in range(len(found.labels)):
            number = int(Path(found.name(index)).stem)
            image, wanted = found.pair(index)
            assert torch.equal(image, torch.from_numpy(photo(number)).permute(2, 0, 1))
            assert wanted.tolist() == [mask(number).tolist()]
            assert Path(found.masks.name(index)).relative_to(tmp_path / "masks").stem == str(number)


def test_nothing_is_decoded(tmp_path, monkeypatch) -> None:
    cells(tmp_path, 4)
    (tmp_path / "masks/0.png").write_bytes(b"")
    monkeypatch.setattr(decode, "image", lambda *_: pytest.fail("an image was decoded"))
    monkeypatch.setattr(mask_files, "values", lambda *_: pytest.fail("a mask was decoded"))
    assert load(tmp_path).sizes == {"train": 3, "val": 1}


def test_endings_may_differ_and_folders_may_be_nested(tmp_path) -> None:
    save(tmp_path / "images/a/1.jpg", photo(1))
    save(tmp_path / "images/b/1.PNG", photo(2))
    save(tmp_path / "images/b.c.png", photo(3))
    for name, number in (("a/1.png", 1), ("b/1.tif", 2), ("b.c.bmp", 3)):
        save(tmp_path / "masks" / name, mask(number))
    (tmp_path / "images/.hidden.png").write_bytes(b"x")
    (tmp_path / "images/notes.txt").write_text("x")
    source = load(tmp_path)
    assert source.sizes == {"train": 2, "val": 1}
    found = {
        pairs(source, split).name(index): pairs(source, split).pair(index)[1].tolist()
        for split in source.splits
        for index in range(source.sizes[split])
    }
    for name, number in (("a/1.jpg", 1), ("b/1.PNG", 2), ("b.c.png", 3)):
        assert found[str(tmp_path / "images" / name)] == [mask(number).tolist()]


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "dev"])
def test_splits_are_folders(tmp_path, name) -> None:
    for split, count in (("train", 4), (name, 2), ("test", 3)):
        cells(tmp_path, count, split)
    source = load(tmp_path)
    assert list(source.sizes.items()) == [("train", 4), ("val", 2), ("test", 3)]
    assert source.drawn == ()
    assert pairs(source, "val").name(0) == str(tmp_path / name / "images/0.png")


def test_what_is_missing_is_drawn_by_the_seed(tmp_path) -> None:
    cells(tmp_path, 20)
    source = load(tmp_path, val_fraction=0.2, test_fraction=0.3)
    assert list(source.sizes.items()) == [("train", 10), ("val", 4), ("test", 6)]
    assert source.drawn == ("val", "test")
    everything = [name for split in source.splits for name in names(source, split)]
    assert sorted(everything) == sorted(f"{number}.png" for number in range(20))
    first, again, other = (names(load(tmp_path, split_seed=seed), "val") for seed in (0, 0, 1))
    assert first == again != other


def test_folds_are_cut_from_train_and_val_together(tmp_path) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        cells(tmp_path, count, split)
    turns = [load(tmp_path, folds=3, fold=fold) for fold in range(3)]
    assert [turn.sizes for turn in turns] == [{"train": 4, "val": 2, "test": 3}] * 3
    seen = [pairs(turn, "val").name(index) for turn in turns for index in range(2)]
    assert len(set(seen)) == 6
    for turn in turns:
        found = pairs(turn, "val")
        for index in range(2):
            number = int(Path(found.name(index)).stem)
            assert found.pair(index)[1].tolist() == [mask(number).tolist()]


def test_a_share_for_a_test_split_that_is_there_is_refused(tmp_path) -> None:
    for split in ("train", "test"):
        cells(tmp_path, 4, split)
    text = "data.test_fraction has no effect: the data has a test split (data.test_fraction=null)"
    assert refusal(lambda: load(tmp_path, test_fraction=0.3)) == text


def test_too_few_images_to_split(tmp_path) -> None:
    cells(tmp_path, 1)
    text = "the data set has too few images for train, val (there are 1, at least 2 are needed)"
    assert refusal(lambda: load(tmp_path)) == text


def harmed(root: Path, kind: str) -> tuple[str, str]:
    """Harm one of six pairs; the file that is told, and why."""
    images, masks = root / "images", root / "masks"
    if kind == "no mask":
        (masks / "3.png").unlink()
        return str(images / "3.png"), "has no mask: there is no masks/3.png"
    if kind == "no image":
        (images / "3.png").unlink()
        return str(masks / "3.png"), "has no image: there is no images/3.*"
    if kind == "two masks":
        save(masks / "3.tif", mask(3))
        return str(images / "3.png"), "has two masks: 3.png and 3.tif"
    if kind == "two images":
        save(images / "3.bmp", photo(3))
        return str(images / "3.png"), "has the name of 3.bmp: they need two masks"
    (masks / "3.png").unlink()
    save(masks / f"3.{kind}", mask(3))
    why = "it mixes the values of neighbours"
    why = "whoever saves it numbers its colours anew" if kind == "GIF" else why
    return str(masks / f"3.{kind}"), f"cannot be a mask, being .{kind}: {why}; save masks as PNG"


KINDS = ["no mask", "no image", "two masks", "two images", "jpg", "webp", "GIF"]


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_pair_is_named(tmp_path, kind) -> None:
    cells(tmp_path, 6)
    file, why = harmed(tmp_path, kind)
    assert refusal(lambda: load(tmp_path)) == f"{file} {why} {SKIP}"


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_pair_may_be_left_out(tmp_path, kind) -> None:
    cells(tmp_path, 6)
    file, why = harmed(tmp_path, kind)
    source = load(tmp_path, on_error="skip")
    assert sum(source.sizes.values()) == 5
    assert source.skipped == {file: why}


def test_the_first_of_several_is_named_and_the_others_are_counted(tmp_path) -> None:
    cells(tmp_path, 6)
    for number in (2, 4, 5):
        (tmp_path / f"masks/{number}.png").unlink()
    text = f"{tmp_path / 'images/2.png'} has no mask: there is no masks/2.png"
    text += f"; 2 more cannot be used {SKIP}"
    assert refusal(lambda: load(tmp_path)) == text


def test_names_that_have_nothing_in_common(tmp_path) -> None:
    cells(tmp_path, 2)
    for file in list((tmp_path / "masks").iterdir()):
        file.rename(file.with_stem(f"{file.stem}_mask"))
    text = refusal(lambda: load(tmp_path, on_error="skip"))
    assert text.startswith(f"images and masks of {tmp_path} have no file of one name (")


def test_no_root(tmp_path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place, what in ((tmp_path / "no", "does not exist"), (file, "is no folder")):
        text = f"data.root {what}: {place} (a folder, {LAYOUT[1:]}"
        assert refusal(lambda place=place: load(place)) == text


def test_folders_that_are_missing_or_too_many(tmp_path) -> None:
    root = cells(tmp_path / "whole", 4)
    shutil.rmtree(root / "masks")
    assert refusal(lambda: load(root)) == f"{root} has no folder 'masks' {LAYOUT}"
    split = tmp_path / "split"
    for name in ("train", "val"):
        cells(split, 3, name)
    (split / "valid").mkdir()
    assert refusal(lambda: load(split)) == f"{split} has two folders for val: val and valid"
    shutil.rmtree(split / "valid")
    (split / "images").mkdir()
    text = f"{split} has images and train side by side {LAYOUT}"
    assert refusal(lambda: load(split)) == text
    (split / "images").rmdir()
    (split / "train").rename(split / "other")
    assert refusal(lambda: load(split)) == f"{split} has no folder 'train' {LAYOUT}"


def test_splits_below_images_are_not_mixed_in_silence(tmp_path) -> None:
    for split in ("train", "val"):
        save(tmp_path / f"images/{split}/0.png", photo(0))
        save(tmp_path / f"masks/{split}/0.png", mask(0))
    text = f"{tmp_path / 'images'} has a folder for a split: train"
    hint = "(turn it round: train/images and train/masks)"
    assert refusal(lambda: load(tmp_path)) == f"{text} {hint}"


def test_links_in_circles_end(tmp_path) -> None:
    cells(tmp_path, 3)
    (tmp_path / "images/again").symlink_to(tmp_path / "images")
    assert sum(load(tmp_path).sizes.values()) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_may_not_be_listed(tmp_path) -> None:
    (cells(tmp_path, 3) / "masks").chmod(0)
    with pytest.raises(DataError, match=r"cannot list .*masks: Permission denied"):
        load(tmp_path)


def test_many_channels_and_a_tilde(tmp_path, monkeypatch) -> None:
    cells(tmp_path / "data", 3)
    monkeypatch.setenv("HOME", str(tmp_path))
    source = load("~/data", channels=1, mean=[0.5], std=[0.2])
    assert pairs(source).pair(0)[0].shape == (1, 9, 12)
    assert folder_masks.places(tmp_path / "data") == {"train": ""}
    assert np.array_equal(pairs(source).labels, [0, 0])
