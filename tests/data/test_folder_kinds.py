from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from folders import PETS, load, part, refusal

from cnnctl.data import archives, shards, tables
from cnnctl.data.source import Encoded, Part


@pytest.fixture
def loader(monkeypatch) -> Callable[..., list[str]]:
    """Put a function that hands out `parts` in place of another; returns the roots it gets."""

    def install(module: Any, function: str, parts: dict[str, Part]) -> list[str]:
        roots: list[str] = []

        def found(root: str) -> dict[str, Part]:
            roots.append(root)
            return dict(parts)

        monkeypatch.setattr(module, function, found)
        return roots

    return install


@pytest.mark.parametrize(
    ("root", "module", "function"),
    [
        ("hf://beans", tables, "hugging_face"),
        ("table.csv", tables, "csv"),
        ("table.CSV", tables, "csv"),
        ("rows.parquet", tables, "parquet"),
        ("rows/", tables, "parquet"),
        ("saved", tables, "hugging_face"),
        ("a.tar", archives, "parts"),
        ("a.tar.gz", archives, "parts"),
        ("a.tgz", archives, "parts"),
        ("a.ZIP", archives, "parts"),
        ("shards", shards, "parts"),
        ("split_shards", shards, "parts"),
        ("shards/train-{0000..0001}.tar", shards, "parts"),
    ],
)
def test_every_kind_of_root_has_its_loader(tmp_path, loader, root, module, function) -> None:
    for name in (
        "table.csv", "table.CSV", "rows.parquet", "rows/0.parquet", "rows/about.md", "a.tar",
        "a.tar.gz", "a.tgz", "a.ZIP", "shards/train-0000.tar", "split_shards/train/0.tar",
        "saved/dataset_dict.json", "saved/train/x",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    roots = loader(module, function, {"train": part(tmp_path, [0, 0, 1, 1])})
    source = load(root)
    assert roots == [root]
    assert (source.classes, source.sizes) == (("a", "b"), {"train": 2, "val": 2})
    assert isinstance(source.splits["train"], Encoded)


def test_an_archive_beside_its_folders_is_no_shard(photos) -> None:
    root = photos({"train": PETS})
    (root / "photos.tar").touch()
    (root / "train/photos.tar").touch()
    assert load(root).sizes == {"train": 6, "val": 2}


def test_splits_of_other_kinds_are_numbered_as_train_is(tmp_path, loader) -> None:
    parts = {
        "test": part(tmp_path, [0, 2, 1], "bca"),
        "train": part(tmp_path, [0, 0, 1, 1, 2], "abc"),
        "val": part(tmp_path, [0, 1, 2], "abc"),
    }
    loader(tables, "hugging_face", parts)
    source = load("hf://letters")
    assert source.classes == ("a", "b", "c")
    assert source.splits["test"].labels.tolist() == [1, 0, 2]
    assert source.splits["val"].labels.tolist() == [0, 1, 2]
    assert list(source.sizes) == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("train", "test", "text"),
    [
        (([0, 0, 0], "ab"), ([0], "a"), "train of hf://x has no images of class 'b'"),
        (([0, 1], "ab"), ([0], "c"), "test of hf://x has class 'c', which train of hf://x lacks"),
        (([0, 0], "a"), ([0], "a"), "train of hf://x has one class only: a (give two or more)"),
        (None, ([0], "a"), "hf://x has no train split, only test"),
    ],
)
def test_the_classes_of_other_kinds_are_checked_too(tmp_path, loader, train, test, text) -> None:
    parts = {"test": part(tmp_path, *test)}
    loader(tables, "hugging_face", {"train": part(tmp_path, *train), **parts} if train else parts)
    assert refusal("hf://x").startswith(text)


def test_a_table_need_not_have_every_class_in_every_split(tmp_path, loader) -> None:
    parts = {"train": part(tmp_path, [0, 0, 1, 1]), "test": part(tmp_path, [0], "b")}
    loader(tables, "hugging_face", parts)
    assert load("hf://x").splits["test"].labels.tolist() == [1]


def test_parquet_files_may_stand_in_the_folder_data(tmp_path, loader) -> None:
    (tmp_path / "rows/data").mkdir(parents=True)
    (tmp_path / "rows/data/train-0.parquet").touch()
    roots = loader(tables, "parquet", {"train": part(tmp_path, [0, 0, 1, 1])})
    load("rows")
    assert roots == ["rows"]


def test_a_packed_archive_is_refused_with_what_to_do(tmp_path) -> None:
    (tmp_path / "a.tar.xz").touch()
    assert "plain .tar" in refusal("a.tar.xz")
