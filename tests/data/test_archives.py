from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from cnnctl.data import archives
from cnnctl.data.source import Part
from cnnctl.errors import DataError

KINDS = ("tar", "stored.zip", "zip")
LAYOUT = "(it must hold train/<class>/<image>, or <class>/<image>)"
PETS = ["train/cat/1.png", "train/cat/more/2.PNG", "train/dog/1.png"]
PETS += ["val/cat/9.png", "test/dog/9.png"]


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.name.endswith("tar"):
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return path
    stored = "stored" in path.name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def images(names: list[str]) -> dict[str, bytes]:
    return {name: png(number) for number, name in enumerate(names)}


def rows(part: Part) -> list[tuple[str, str]]:
    """The class and the name of every image."""
    labels = [part.classes[label] for label in part.labels.tolist()]
    return [(label, part.blobs.name(n)) for n, label in enumerate(labels)]


def found(parts: dict[str, Part]) -> dict[str, list[tuple[str, str]]]:
    return {split: rows(part) for split, part in parts.items()}


def in_workers(part: Part) -> list[bytes]:
    """What two loader processes read, in order."""
    return [*DataLoader(part.blobs, None, num_workers=2, multiprocessing_context="fork")]  # pyright: ignore[reportArgumentType]


def refusal(path: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        archives.parts(str(path))
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_split_is_found_and_read_back_to_the_byte(tmp_path, kind) -> None:
    files = images(PETS)
    path = pack(tmp_path / f"photos.{kind}", files)
    parts = archives.parts(str(path))
    given = [("cat", 0), ("cat", 1), ("dog", 2)]
    assert rows(parts["train"]) == [(label, f"{path}/{PETS[number]}") for label, number in given]
    assert rows(parts["val"]) == [("cat", f"{path}/{PETS[3]}")]
    assert rows(parts["test"]) == [("dog", f"{path}/{PETS[4]}")]
    for part in parts.values():
        names = [name.removeprefix(f"{path}/") for _, name in rows(part)]
        assert [part.blobs[n] for n in range(len(part.blobs))] == [files[name] for name in names]
        assert part.labels.dtype == np.int64
        assert part.classes == ("cat", "dog")


@pytest.mark.parametrize("kind", KINDS)
def test_loader_processes_and_copies_read_the_same_bytes(tmp_path, kind) -> None:
    files = images([f"{label}/{n:02}.png" for label in ("a", "b") for n in range(20)])
    part = archives.parts(str(pack(tmp_path / f"photos.{kind}", files)))["train"]
    part.blobs[3]  # whatever is open now is not to be shared
    assert in_workers(part) == list(files.values())
    copy = pickle.loads(pickle.dumps(part.blobs))  # noqa: S301 - ours
    assert [copy[n] for n in range(40)] == list(files.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat/1.png", "dog/1.png"], {"train": ["cat", "dog"]}),
        (["top/cat/1.png", "top/dog/1.png"], {"train": ["cat", "dog"]}),
        (["a/b/train/cat/1.png", "a/b/dev/cat/1.png"], {"train": ["cat"], "val": ["cat"]}),
        (["./train/cat/1.png", "./Validation/cat/1.png"], {"train": ["cat"], "val": ["cat"]}),
        (["top/cover.png", "top/cat/1.png", "top/dog/1.png"], {"train": ["cat", "dog"]}),
        (["cat/1.png", "dog/in/deep/1.png"], {"train": ["cat", "dog"]}),
        (["train/cat/1.png", "train/1.png", "docs/x.png"], {"train": ["cat"]}),
    ],
)
def test_the_layout_is_that_of_a_folder_below_a_common_top(tmp_path, kind, names, expected) -> None:
    parts = archives.parts(str(pack(tmp_path / f"x.{kind}", images(names))))
    assert {split: [label for label, _ in rows] for split, rows in found(parts).items()} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_files_and_what_is_no_image_are_left_out(tmp_path, kind) -> None:
    names = ["cat/1.png", "cat/notes.txt", "cat/.2.png", "__MACOSX/cat/._1.png", ".git/cat/3.png"]
    names += ["dog/1.png", "dog/png", "LICENSE"]
    parts = archives.parts(str(pack(tmp_path / f"x.{kind}", images(names))))
    left = [name.rpartition(f".{kind}/")[2] for _, name in rows(parts["train"])]
    assert left == ["cat/1.png", "dog/1.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_that_leads_elsewhere_is_only_a_name(tmp_path, kind) -> None:
    names = ["/cat/1.png", "../../dog/1.png", "dog/1.png", "cat/../../2.png"]
    files = images(names)
    part = archives.parts(str(pack(tmp_path / f"x.{kind}", files)))["train"]
    assert [part.blobs[n] for n in range(len(part.blobs))] == [files[names[0]], files[names[2]]]
    assert {path.name for path in tmp_path.iterdir()} == {"home", f"x.{kind}"}


def test_windows_separators_in_a_zip_are_separators(tmp_path) -> None:
    path = pack(tmp_path / "x.zip", images([r"top\train\cat\1.png", r"top\train\dog\1.png"]))
    assert [label for label, _ in found(archives.parts(str(path)))["train"]] == ["cat", "dog"]


@pytest.mark.parametrize("name", ["x" * 300, "größe", "a b", "x.y"])
@pytest.mark.parametrize("kind", KINDS)
def test_names_of_any_length_and_letters(tmp_path, kind, name) -> None:
    files = images([f"cat/{name}.png", f"{name}/1.png"])
    part = archives.parts(str(pack(tmp_path / f"x.{kind}", files)))["train"]
    assert {part.blobs.name(n).rpartition(f".{kind}/")[2] for n in range(2)} == set(files)
    assert {part.blobs[n] for n in range(2)} == set(files.values())


def test_a_file_that_was_added_twice_counts_as_it_was_last(tmp_path) -> None:
    path = pack(tmp_path / "x.tar", images(["cat/1.png", "dog/1.png"]))
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("./cat/1.png")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"new"))
    part = archives.parts(str(path))["train"]
    assert [part.blobs[n] for n in range(len(part.blobs))] == [b"new", png(1)]


def test_the_stamp_tells_archives_and_splits_apart_and_sees_a_change(tmp_path) -> None:
    path = pack(tmp_path / "x.tar", images(PETS))
    stamps = {split: part.blobs.stamp() for split, part in archives.parts(str(path)).items()}
    assert len(set(stamps.values())) == 3
    again = archives.parts(str(path))["train"].blobs
    assert again.stamp() == stamps["train"]
    os.utime(path, ns=(1, 1))
    assert again.stamp() != stamps["train"]
    path.unlink()
    with pytest.raises(DataError, match=r"cannot read .*x\.tar: No such file"):
        again.stamp()


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar.xz", "X.TAR.BZ2"])
def test_an_archive_compressed_as_a_whole_is_refused(tmp_path, name) -> None:
    path = tmp_path / name
    said = f"{path} is compressed as a whole: no image can be read by itself"
    assert refusal(path) == f"{said} (unpack it, or make a plain .tar)"


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_an_empty_or_a_cut_archive_is_named(tmp_path, kind) -> None:
    path = tmp_path / f"x.{kind}"
    assert refusal(path) == f"cannot read {path}: No such file or directory"
    whole = pack(path, images(PETS)).read_bytes()
    if kind == "tar":
        whole = whole.rstrip(b"\0")
    for size in (0, 100, 600, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert refusal(path).startswith(f"{path} is damaged: "), size
    none = f"{path} has no images below class folders {LAYOUT}"
    assert refusal(pack(path, {"cat/a.txt": b""})) == none
    only_val = pack(path, images(["val/cat/1.png"]))
    assert refusal(only_val) == f"{path} has no split 'train' (it has val)"
    unknown = pack(path, images(["train/cat/1.png", "val/cats/1.png"]))
    assert "has class 'cats' in val, which train lacks (did you mean 'cat'?)" in refusal(unknown)


def test_a_wrong_header_in_the_middle_is_not_taken_for_the_end(tmp_path) -> None:
    path = pack(tmp_path / "x.tar", images(["a/1.png", "b/1.png"]))
    data = bytearray(path.read_bytes())
    data[data.index(b"b/1.png")] ^= 1
    path.write_bytes(data)
    assert refusal(path).startswith(f"{path} is damaged: it ends early, or a header is wrong")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_are_refused(tmp_path, kind) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        member = tarfile.TarInfo("cat/1.png")
        member.type, member.linkname = kind, "cat/2.png"
        tar.addfile(member)
    assert "in place of the image cat/1.png (make it with tar --deref" in refusal(
        tmp_path / "x.tar"
    )


def test_encrypted_and_oddly_compressed_zips_are_refused(tmp_path) -> None:
    path = pack(tmp_path / "x.zip", images(["a/1.png", "b/1.png"]))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # the flag in the central directory
    path.write_bytes(data)
    assert refusal(path) == f"{path} is encrypted: a/1.png (unpack it with its password)"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("a/1.png", png(0))
    assert "is compressed with method 14: a/1.png (make it again, stored" in refusal(path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_breaks_after_the_listing_is_told_with_the_name(tmp_path, kind) -> None:
    path = pack(tmp_path / f"x.{kind}", images(["a/1.png", "b/1.png"]))
    blobs = archives.parts(str(path))["train"].blobs
    if kind != "tar":  # which has no checksums
        data = bytearray(path.read_bytes())
        data[60] ^= 255
        path.write_bytes(data)
        with pytest.raises(DataError, match=rf"^cannot read image {path}/a/1\.png: "):
            blobs[0]
    os.truncate(path, 40)
    with pytest.raises(DataError, match=rf"{path}/b/1\.png: the archive ends early$"):
        blobs[1]
    path.unlink()
    with pytest.raises(DataError, match=rf"{path}/b/1\.png: No such file or directory$"):
        blobs[1]


@given(st.lists(st.binary(max_size=1500), min_size=1, max_size=6), st.sampled_from(KINDS))
def test_any_bytes_come_back(tmp_path_factory, contents, kind) -> None:
    path = tmp_path_factory.mktemp("any") / f"x.{kind}"
    blobs = archives.parts(str(pack(path, {f"a/{n}.gif": one for n, one in enumerate(contents)})))
    assert [blobs["train"].blobs[n] for n in range(len(contents))] == contents
