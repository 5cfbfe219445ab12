from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cnnctl.data import listing
from cnnctl.data.source import Part
from cnnctl.errors import DataError

LAYOUT = "(it must hold train/<class>/<image>, or <class>/<image>)"
PETS = ("train/cat/0.png", "train/cat/1.png", "train/dog/0.png")


def made(root: Path, names: Sequence[str]) -> Path:
    """Empty files in folders that last changed an hour ago."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for folder in (root, *root.rglob("*")):
        if folder.is_dir():
            os.utime(folder, ns=(0, folder.stat().st_mtime_ns - 3600 * 10**9))
    return root


def names(root: Path, part: Part) -> list[str]:
    return [part.blobs.name(index).removeprefix(f"{root}/") for index in range(len(part.blobs))]


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        listing.parts(root)
    return str(caught.value)


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """The folder of listings that are kept, which one image suffices for."""
    monkeypatch.setattr(listing, "MANY", 1)
    monkeypatch.setenv("CNNCTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/listings"


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Every directory that is listed."""
    found: list[str] = []
    whole = os.scandir

    def counted(path):
        found.append(str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", counted)
    return found


def test_every_split_is_listed_by_class_in_order(tmp_path) -> None:
    root = made(
        tmp_path / "x", ["test/b/1.png", "test/a/0.png", *PETS, "val/c/9.jpg", "val/c/10.jpg"]
    )
    found = listing.parts(root)
    assert list(found) == ["train", "val", "test"]
    assert names(root, found["train"]) == list(PETS)
    assert found["train"].labels.tolist() == [0, 0, 1]
    assert found["train"].labels.dtype == np.int64
    assert found["train"].classes == ("cat", "dog")
    assert names(root, found["val"]) == ["val/c/10.jpg", "val/c/9.jpg"]
    assert (found["test"].classes, found["test"].labels.tolist()) == (("a", "b"), [0, 1])


def test_class_folders_may_stand_under_the_root_and_are_train(tmp_path) -> None:
    root = made(tmp_path / "x", ["cat/0.png", "dog/more/1.png"])
    found = listing.parts(root)
    assert list(found) == ["train"]
    assert names(root, found["train"]) == ["cat/0.png", "dog/more/1.png"]
    assert found["train"].classes == ("cat", "dog")


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Validation"])
def test_val_has_several_names(tmp_path, name) -> None:
    root = made(tmp_path / "x", [*PETS, f"{name}/cat/0.png"])
    assert names(root, listing.parts(root)["val"]) == [f"{name}/cat/0.png"]
    assert listing.places(root) == {"train": "train", "val": name}


def test_two_folders_for_one_split_are_refused(tmp_path) -> None:
    root = made(tmp_path / "x", [*PETS, "val/cat/0.png", "valid/cat/0.png"])
    assert refusal(root) == f"{root} has two folders for val: val and valid"


def test_only_images_count_at_any_depth_and_nothing_hidden(tmp_path) -> None:
    wanted = ["train/cat/a.png/0.JPG", "train/cat/b/c/1.webp", "train/cat/z.tiff"]
    other = ["train/cat/notes.txt", "train/cat/.d/0.png", "train/cat/.e.png", "train/.f/0.png",
             "train/cat/png", "train/0.png"]  # fmt: skip
    root = made(tmp_path / "x", [*wanted, *other])
    found = listing.parts(root)["train"]
    assert (names(root, found), found.classes) == (wanted, ("cat",))


def test_a_class_without_images_is_still_a_class(tmp_path) -> None:
    root = made(tmp_path / "x", [*PETS, "train/ant/notes.txt"])
    found = listing.parts(root)["train"]
    assert found.classes == ("ant", "cat", "dog")
    assert found.labels.tolist() == [1, 1, 2]


def test_links_are_followed_but_not_in_circles(tmp_path) -> None:
    root = made(tmp_path / "x", PETS)
    made(tmp_path / "more", ["2.png"])
    (root / "train/cat/more").symlink_to(tmp_path / "more")
    (root / "train/cat/again").symlink_to(root / "train/cat")
    (root / "train/eel").symlink_to(tmp_path / "more")
    (root / "train/eel/gone.png").symlink_to(tmp_path / "nowhere")
    found = listing.parts(root)["train"]
    assert names(root, found) == [
        "train/cat/0.png", "train/cat/1.png", "train/cat/more/2.png", "train/cat/more/gone.png",
        "train/dog/0.png", "train/eel/2.png", "train/eel/gone.png",
    ]  # fmt: skip


def test_a_folder_without_classes_is_refused(tmp_path) -> None:
    root = made(tmp_path / "x", ["notes.txt"])
    assert refusal(root) == f"{root} has neither a folder 'train' nor class folders {LAYOUT}"
    (root / "train").mkdir()
    assert refusal(root) == f"{root / 'train'} has no class folders {LAYOUT}"


def test_a_folder_with_other_splits_than_train_is_refused(tmp_path) -> None:
    root = made(tmp_path / "x", ["test/cat/0.png", "training/cat/0.png"])
    assert refusal(root) == f"{root} has no folder 'train' {LAYOUT}"


def test_a_folder_around_the_right_one_is_told(tmp_path) -> None:
    root = made(tmp_path / "x", [f"photos/{name}" for name in PETS])
    hint = f"(did you mean data.root={root / 'photos'}?)"
    assert refusal(root) == f"{root} has no folder 'train' {hint}"


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch) -> None:
    root = made(tmp_path / "x", PETS)
    whole = os.scandir

    def guarded(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert refusal(root) == f"cannot list {root / 'train/dog'}: Permission denied"


def test_a_small_folder_is_listed_each_time(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CNNCTL_CACHE", str(tmp_path / "cache"))
    listing.parts(made(tmp_path / "x", PETS))
    assert not (tmp_path / "cache").exists()


def test_a_large_folder_is_listed_once(tmp_path, kept, opened) -> None:
    root = made(tmp_path / "x", [*PETS, "val/cat/é.png", "val/dog/0.png"])
    opened.clear()
    first = listing.parts(root)
    assert len(list(kept.iterdir())) == 1
    assert len(opened) == 7
    second = listing.parts(root)
    assert len(opened) == 7
    assert list(first) == list(second)
    for split in first:
        assert names(root, first[split]) == names(root, second[split])
        assert first[split].labels.tolist() == second[split].labels.tolist()
        assert first[split].labels.dtype == second[split].labels.dtype
        assert first[split].classes == second[split].classes


def test_the_same_folder_by_another_path_is_known(tmp_path, kept, opened) -> None:
    root = made(tmp_path / "x", PETS)
    listing.parts(root)
    before = len(opened)
    found = listing.parts(Path("x"))["train"]
    assert len(opened) == before
    assert found.blobs.name(0) == "x/train/cat/0.png"


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "train/cat/2.png").touch(),
        lambda root: (root / "train/cat/1.png").unlink(),
        lambda root: (root / "train/cat/1.png").rename(root / "train/cat/3.png"),
        lambda root: made(root / "train/eel", ["0.png"]),
        lambda root: shutil.rmtree(root / "train/dog"),
        lambda root: made(root / "val/dog", ["0.png"]),
        lambda root: (root / "train/cat/deep/er/0.png").unlink(),
    ],
    ids=["added", "removed", "renamed", "class", "no class", "split", "deep"],
)
def test_any_change_is_seen(tmp_path, kept, monkeypatch, change) -> None:
    root = made(tmp_path / "x", [*PETS, "train/cat/deep/er/0.png"])
    before = listing.parts(root)
    change(root)
    after = listing.parts(root)
    monkeypatch.setattr(listing, "_known", lambda *_: None)
    fresh = listing.parts(root)
    assert {split: names(root, part) for split, part in after.items()} == {
        split: names(root, part) for split, part in fresh.items()
    }
    assert [names(root, part) for part in after.values()] != [
        names(root, part) for part in before.values()
    ]


def test_a_folder_that_has_just_changed_is_not_kept(tmp_path, kept) -> None:
    root = made(tmp_path / "x", PETS)
    (root / "train/dog/1.png").touch()  # another file at the same instant would not be seen
    listing.parts(root)
    assert not kept.exists()


@pytest.mark.parametrize("damage", ["empty", "half", "text", "version", "lacking"])
def test_a_damaged_listing_is_ignored_and_written_anew(tmp_path, kept, damage) -> None:
    root = made(tmp_path / "x", PETS)
    listing.parts(root)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    with np.load(file) as opened:
        arrays = dict(opened)
    if damage == "version":
        np.savez(file, **{**arrays, "version": np.array(0)})
    elif damage == "lacking":
        np.savez(file, **{name: array for name, array in arrays.items() if name != "times"})
    else:
        file.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "text": b"x"}[damage])
    assert names(root, listing.parts(root)["train"]) == list(PETS)
    assert list(kept.iterdir()) == [file]
    assert file.read_bytes() == whole


def test_a_cache_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, kept) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    root = made(tmp_path / "x", PETS)
    assert names(root, listing.parts(root)["train"]) == list(PETS)
