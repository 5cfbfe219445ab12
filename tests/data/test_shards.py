from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from cnnctl.data import shards
from cnnctl.data.source import Part
from cnnctl.errors import DataError

Sample = dict[str, bytes]


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def samples(labels: list[str], start: int = 0) -> dict[str, bytes]:
    """Members NUMBER.jpg and NUMBER.cls."""
    members: dict[str, bytes] = {}
    for number, label in enumerate(labels, start):
        members |= {f"{number:04}.jpg": jpeg(number), f"{number:04}.cls": label.encode()}
    return members


def classes(part: Part) -> list[str]:
    return [part.classes[label] for label in part.labels.tolist()]


def contents(part: Part) -> list[bytes]:
    return [part.blobs[n] for n in range(len(part.blobs))]


def refusal(root: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        shards.parts(str(root))
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards of train, one of val: five samples of classes 0 and 1."""
    root = tmp_path / "shards"
    shard(root / "pets-train-000.tar", samples(["0", "1"]))
    shard(root / "pets-train-001.tar", samples(["1", "0"], 2))
    shard(root / "pets-val-000.tar", samples(["1"], 4))
    return root


def test_every_sample_of_every_shard_is_read_back_to_the_byte(folder) -> None:
    parts = shards.parts(str(folder))
    assert list(parts) == ["train", "val"]
    train, val = parts["train"], parts["val"]
    assert contents(train) == [jpeg(n) for n in range(4)]
    assert contents(val) == [jpeg(4)]
    assert (classes(train), classes(val)) == (["0", "1", "1", "0"], ["1"])
    assert (train.labels.dtype, train.classes, val.classes) == (np.int64, ("0", "1"), ("0", "1"))
    assert train.blobs.name(2) == f"{folder}/pets-train-001.tar/0002.jpg"


def test_loader_processes_and_copies_read_the_same_bytes(tmp_path) -> None:
    for number in range(4):
        labels = [str(n % 3) for n in range(10)]
        shard(tmp_path / f"{number}.tar", samples(labels, 10 * number))
    blobs = shards.parts(str(tmp_path / "{0..3}.tar"))["train"].blobs
    expected = [jpeg(n) for n in range(40)]
    blobs[7]  # whatever is open now is not to be shared
    assert [*DataLoader(blobs, None, num_workers=2, multiprocessing_context="fork")] == expected  # pyright: ignore[reportArgumentType]
    copy = pickle.loads(pickle.dumps(blobs))  # noqa: S301 - ours
    assert [copy[n] for n in range(40)] == expected


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["0.tar", "1.tar"], ["train"]),
        (["train-0.tar", "validation-0.tar", "test-0.tar"], ["train", "val", "test"]),
        (["a_TRAIN_0.tar", "a_dev_0.tar"], ["train", "val"]),
        (["train/0.tar", "valid/0.tar"], ["train", "val"]),
        (["train/deep/0.tar", "test/deep/0.tar"], ["train", "test"]),
        (["trained-0.tar", "contest-0.tar"], ["train"]),
        (["train/0.tar", ".val.tar", "notes.txt"], ["train"]),
    ],
)
def test_splits_come_from_words_of_the_names_or_folders(tmp_path, files, splits) -> None:
    for number, name in enumerate(files):
        shard(tmp_path / "test" / name, samples(["cat"], number))
    assert list(shards.parts(str(tmp_path / "test"))) == splits


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{8..11}.tar", ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{train,val}-{0..1}", ["train-0", "train-1", "val-0", "val-1"]),
        ("{a,b}/{3..3}", ["a/3", "b/3"]),
    ],
)
def test_braces_are_expanded_as_by_a_shell(pattern, names) -> None:
    assert shards.expand(pattern) == names


def test_a_pattern_takes_the_shards_that_it_names(folder) -> None:
    parts = shards.parts(f"{folder}/pets-{{train-000,val-000}}.tar")
    assert {split: len(part.blobs) for split, part in parts.items()} == {"train": 2, "val": 1}
    (folder / "test").mkdir()
    (folder / "pets-val-000.tar").rename(folder / "test/0.tar")
    assert list(shards.parts(f"{folder}/test/{{0..0}}.tar")) == ["train"]


def test_a_home_folder_may_be_meant_with_a_tilde(folder, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert len(shards.parts("~/shards/pets-train-{000..001}.tar")["train"].blobs) == 4


@pytest.mark.parametrize("braces", ["{3..1}", "{a}", "{}", "{1..b}"])
def test_braces_that_name_nothing_are_refused(braces) -> None:
    said = f"cannot expand {braces} in x-{braces}.tar (write {{000..127}} or {{a,b}})"
    assert refusal(f"x-{braces}.tar") == said


def test_missing_shards_are_counted(folder) -> None:
    pattern = f"{folder}/pets-train-{{000..003}}.tar"
    assert refusal(pattern) == f"no such shard: {folder}/pets-train-002.tar, and 1 more"
    assert refusal(folder / "no.tar") == f"no such shard: {folder}/no.tar"


@pytest.mark.parametrize(
    ("sample", "label"),
    [
        ({"cls": b"12\n"}, "12"),
        ({"cls": b"tabby cat"}, "tabby cat"),
        ({"json": b'{"label": 3, "class": 4}'}, "3"),
        ({"json": b'{"class": "cat", "width": 5}'}, "cat"),
        ({"cls": b"1", "json": b'{"label": 2}', "txt": b"a cat"}, "1"),
        ({"CLS": "Kätzchen".encode()}, "Kätzchen"),
    ],
)
def test_labels_are_a_number_or_a_text_in_cls_or_json(tmp_path, sample, label) -> None:
    members = {f"in/1.2.{end}": data for end, data in sample.items()}
    members = {name.replace("1.2", "1"): data for name, data in members.items()}
    part = shards.parts(str(shard(tmp_path / "a.tar", {"in/1.JPG": b"image", **members})))["train"]
    assert (part.classes, contents(part)) == ((label,), [b"image"])


def test_members_of_a_sample_share_folder_and_name_up_to_the_first_dot(tmp_path) -> None:
    members = {
        "a/1.cls": b"x", "b/1.cls": b"y", "a/1.jpg": b"a1", "b/1.png": b"b1", "a/1.seg.png": b"",
        "b/__len__": b"", ".hidden": b"",
    }  # fmt: skip
    part = shards.parts(str(shard(tmp_path / "a.tar", members)))["train"]
    assert list(zip(classes(part), contents(part), strict=True)) == [("x", b"a1"), ("y", b"b1")]


def test_numbers_keep_their_order_and_names_are_sorted(tmp_path) -> None:
    part = shards.parts(str(shard(tmp_path / "a.tar", samples(["10", "9", "100"]))))["train"]
    assert (part.classes, part.labels.tolist()) == (("9", "10", "100"), [1, 0, 2])
    part = shards.parts(str(shard(tmp_path / "a.tar", samples(["10", "b", "9"]))))["train"]
    assert part.classes == ("10", "9", "b")


def test_a_file_of_class_names_gives_names_and_order(folder) -> None:
    (folder / "classes.txt").write_text("zebra\ncat\nunused\n")
    train = shards.parts(str(folder))["train"]
    assert train.classes == ("zebra", "cat", "unused")
    assert train.labels.tolist() == [0, 1, 1, 0]
    shard(folder / "pets-train-002.tar", samples(["cat"], 9))
    assert shards.parts(str(folder))["train"].labels.tolist() == [0, 1, 1, 0, 1]
    shard(folder / "pets-train-002.tar", samples(["3"], 9))
    said = f"{folder} has class 3, but classes.txt names 0 to 2 (its first line is class 0)"
    assert refusal(folder) == said


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"1.cls": b"0"}, "has no images, not one"),
        ({"1.jpg": b"", "1.png": b"", "1.cls": b"0"}, "has 2 images, not one"),
        ({"1.jpg": b"", "1.txt": b"0"}, "has no label (add a .cls, or a .json with 'label')"),
        ({"1.jpg": b"", "1.cls": b" "}, "has no label in its .cls"),
        ({"1.jpg": b"", "1.json": b"{}"}, "has no label in its .json"),
        ({"1.jpg": b"", "1.json": b'{"label": [1]}'}, "has no label in its .json"),
        ({"1.jpg": b"", "1.json": b"[0]"}, "has no label in its .json"),
        ({"1.jpg": b"", "1.json": b"{"}, "has a damaged .json: Expecting"),
        ({"1.jpg": b"", "1.cls": b"\xff"}, "has a damaged .cls: 'utf-8'"),
    ],
)
def test_a_sample_without_one_image_and_a_label_is_named(tmp_path, members, said) -> None:
    path = shard(tmp_path / "a.tar", members)
    assert refusal(tmp_path).startswith(f"{path}: sample '1' {said}")


def test_folders_without_shards_and_odd_shards_are_refused(folder, tmp_path) -> None:
    assert refusal(tmp_path / "home") == f"{tmp_path}/home has no shards (they end in .tar)"
    odd = shard(folder / "more.tar", samples(["0"]))
    hint = "(name it like train-000.tar, or put it into a folder train)"
    assert refusal(folder) == f"{odd} belongs to no split, as others do {hint}"
    odd.rename(folder / "train.tar.gz")
    assert refusal(folder).startswith(f"{folder}/train.tar.gz is compressed as a whole")
    (folder / "train.tar.gz").unlink()
    shard(folder / "train.tar", {"notes.txt": b""})
    assert "sample 'notes' has no images" in refusal(folder)
    (folder / "train.tar").write_bytes(b"x" * 600)
    assert refusal(folder).startswith(f"{folder}/train.tar is damaged: ")
    assert refusal(shard(tmp_path / "x/empty.tar", {})) == f"{tmp_path}/x/empty.tar has no images"


def test_a_class_that_only_val_has_is_refused(folder) -> None:
    shard(folder / "pets-val-000.tar", samples(["dog"]))
    assert refusal(folder) == f"{folder} has class 'dog' in val, which train lacks"


def test_the_stamp_tells_splits_apart_and_sees_a_change_of_any_shard(folder) -> None:
    parts = shards.parts(str(folder))
    before = {split: part.blobs.stamp() for split, part in parts.items()}
    assert len(set(before.values())) == 2
    os.utime(folder / "pets-train-001.tar", ns=(1, 1))
    assert parts["train"].blobs.stamp() != before["train"]
    assert parts["val"].blobs.stamp() == before["val"]
