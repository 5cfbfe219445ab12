from __future__ import annotations

import io
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from cnnctl.data import tables
from cnnctl.data.source import Part
from cnnctl.errors import DataError


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def contents(part: Part) -> list[bytes]:
    return [part.blobs[n] for n in range(len(part.blobs))]


def classes(part: Part) -> list[str]:
    return [part.classes[label] for label in part.labels]


def same_everywhere(part: Part) -> list[bytes]:
    """What is read here; by a pickled copy, threads and loader processes, too."""
    here = contents(part)  # first, so that something is open to inherit
    assert contents(pickle.loads(pickle.dumps(part))) == here  # noqa: S301 - ours
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(part.blobs.__getitem__, range(len(here)))] == here
    assert [*DataLoader(part.blobs, None, num_workers=2, multiprocessing_context="fork")] == here  # pyright: ignore[reportArgumentType]
    return here


def refusal(load, root: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        load(str(root))
    return str(caught.value)


@pytest.fixture
def listed(tmp_path):
    """Write images a/0.png to a/3.png, and a CSV beside the folder a."""
    (tmp_path / "a").mkdir()
    for number in range(4):
        (tmp_path / f"a/{number}.png").write_bytes(png(number))

    def write(*lines: str) -> Path:
        path = tmp_path / "images.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_a_csv_lists_images_of_every_split(listed, tmp_path) -> None:
    lines = ["path,label,split", "a/0.png,dog,train", f"{tmp_path}/a/1.png,cat,Train"]
    parts = tables.csv(str(listed(*lines, "a/2.png,cat,validation", "", "a/3.png,dog,test")))
    assert [*map(classes, parts.values())] == [["dog", "cat"], ["cat"], ["dog"]]
    assert same_everywhere(parts["train"]) == [png(0), png(1)]
    assert parts["train"].classes == parts["test"].classes == ("cat", "dog")
    assert parts["val"].blobs.name(0) == f"{tmp_path}/a/2.png"


HEADERS = {
    "label,path": "x,a/1.png", "Class; FileName": "x;a/1.png", "picture,kind": "a/1.png,x",
    "id\ttarget\timage": "7\tx\ta/1.png", '"path","label"': '"a/1.png","x"',
    "\ufeffpath,label": "a/1.png,x", "label,picture": "x,a/1.png",
}  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_columns_are_found_by_name_or_by_place(listed, header) -> None:
    part = tables.csv(str(listed(header, HEADERS[header])))["train"]
    assert (part.classes, contents(part)) == (("x",), [png(1)])


@pytest.mark.parametrize("ordered", ["2 9 10", "-1 0 1", "1 1.5 11.0", "10 9 x"])
def test_numbers_keep_their_order(listed, ordered) -> None:
    rows = [f"a/{n}.png,{label}" for n, label in enumerate(reversed(ordered.split()))]
    assert tables.csv(str(listed("path,label", *rows)))["train"].classes == tuple(ordered.split())


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("path,label|a/0.png,x|b/1,x|b/2,x", " line 3: no such file: {0}/b/1, and 1 more"),
        ("path,label|a,x", " line 2: no such file: {0}/a"),
        ("path,label|a/0.png", " line 2 has 1 columns, the header 2"),
        ("path,label|a/0.png,", " line 2 has no label"),
        ("path,label|,x", " line 2 has no path"),
        ("path,label,split|a/0.png,x,t", " line 2: unknown split 't' (train, val or test)"),
        ("a/0.png,x", " has no header (its first line must be: path,label)"),
        ("path", " has no columns for path and label (it has path)"),
        ("path,label", " has no images"),
        ("path,label,split|a/0.png,x,val", " has no split 'train' (it has val)"),
    ],
)
def test_a_line_that_is_wrong_is_named(listed, tmp_path, lines, said) -> None:
    path = listed(*lines.split("|"))
    assert refusal(tables.csv, path) == f"{path}{said.format(tmp_path)}"


def test_a_csv_that_cannot_be_read_is_named(listed, tmp_path) -> None:
    path = listed("")
    assert "has no columns for path and label" in refusal(tables.csv, path)
    path.write_bytes(b"path,label\na/\xff.png,x")
    assert refusal(tables.csv, path).startswith(f"{path} is damaged: 'utf-8' codec can't decode")
    path.unlink()
    assert refusal(tables.csv, path) == f"cannot read {path}: No such file or directory"


@pytest.fixture
def write(tmp_path):
    """Write columns as tmp_path/p/NAME with two rows in each row group."""
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")

    def make(columns: dict, name: str = "x.parquet", metadata: str | None = None) -> Path:
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table(columns, metadata={"huggingface": metadata or "{}"})
        pq.write_table(table, path, row_group_size=2)
        return path

    return make


def images(count: int, start: int = 0) -> list[dict[str, bytes | str]]:
    return [{"bytes": png(n), "path": f"{n}.png"} for n in range(start, start + count)]


NAMES = '{"info": {"features": {"label": {"names": ["zebra", "cat"], "_type": "ClassLabel"}}}}'


def test_a_parquet_file_is_read_back_by_row_groups(write) -> None:
    path = write({"image": images(5), "label": [10, 9, 9, 100, 10]})
    part = tables.parquet(str(path))["train"]
    assert same_everywhere(part) == [png(n) for n in range(5)]
    assert tables._row_group(str(path), 2, "image") is tables._row_group(str(path), 2, "image")
    assert (part.classes, part.labels.tolist()) == (("9", "10", "100"), [1, 0, 0, 2, 1])
    assert (part.blobs.name(3), part.labels.dtype) == (f"{path}/3", np.int64)


def test_bytes_alone_and_labels_as_text_will_do(write) -> None:
    columns = {"id": [7, 8], "jpeg": [png(0), png(1)], "class": ["b", "a"]}
    part = tables.parquet(str(write(columns)))["train"]
    assert (classes(part), contents(part)) == (["b", "a"], [png(0), png(1)])


def test_the_folders_of_hugging_face_have_splits_and_class_names(write, tmp_path) -> None:
    write({"image": images(3), "label": [1, 0, 1]}, "data/train-0-of-2.parquet", NAMES)
    write({"image": images(3, 3), "label": [1, 0, 1]}, "data/train-1-of-2.parquet", NAMES)
    write({"image": images(1, 6), "label": [0]}, "data/validation-0-of-1.parquet", NAMES)
    write({"image": images(2, 7), "label": [-1, -1]}, "data/test-0-of-1.parquet", NAMES)
    parts = tables.parquet(str(tmp_path / "p"))
    assert list(parts) == ["train", "val"]  # the test's labels are secret
    assert parts["val"].classes == ("zebra", "cat")
    assert contents(parts["train"]) + contents(parts["val"]) == [png(n) for n in range(7)]
    assert classes(parts["train"]) == ["cat", "zebra", "cat"] * 2
    assert parts["train"].blobs.stamp() != parts["val"].blobs.stamp()


@pytest.mark.parametrize(
    ("columns", "metadata", "said"),
    [
        ({"image": ["a"], "label": [0]}, None, ": no images (name the column 'image')"),
        ({"a": [b""], "b": [b""], "label": [0]}, None, ": several columns could be images: a, b"),
        ({"image": [b""], "label": [0.5]}, None, ": no labels (name the column 'label')"),
        ({"image": [b"", b""], "label": [0, None]}, None, "/1: label is None, which is no class"),
        ({"image": [b"", b""], "label": [0, 2]}, NAMES, "/1: label is 2, which is no class"),
        ({"image": [b""], "label": [0]}, "{", " is damaged: Expecting property name"),
    ],
)
def test_columns_that_cannot_be_told_are_refused(write, columns, metadata, said) -> None:
    path = write(columns, metadata=metadata)
    assert refusal(tables.parquet, path).startswith(f"{path}{said}")


def test_files_that_do_not_fit_or_are_damaged_are_named(write, tmp_path, monkeypatch) -> None:
    path = write({"image": [None, {"bytes": None, "path": str(tmp_path)}], "label": [0, 0]})
    blobs = tables.parquet(str(path))["train"].blobs
    for row, said in enumerate(("the cell is empty", "Is a directory")):
        with pytest.raises(DataError, match=rf"^cannot read image {path}/{row}: {said}$"):
            blobs[row]
    path = path.rename(path.with_name("train.parquet"))
    other = write({"img": images(1), "label": [0]}, "val.parquet")
    assert refusal(tables.parquet, path.parent).startswith(f"{other} has other columns or cla")
    other.rename(other.with_name("more.parquet"))
    assert "more.parquet belongs to no split" in refusal(tables.parquet, path.parent)
    path.write_bytes(b"PAR1")
    assert refusal(tables.parquet, path).startswith(f"{path} is damaged: ")
    assert refusal(tables.parquet, tmp_path / "home") == f"{tmp_path}/home has no .parquet files"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert refusal(tables.parquet, path) == f"{path} needs pyarrow (pip install 'cnnctl[parquet]')"


def made(**splits: list[int]):
    """A data set of Hugging Face, two classes."""
    hub = pytest.importorskip("datasets", reason="needs datasets")
    hub.disable_progress_bars()
    label = hub.ClassLabel(names=["zebra", "cat"])
    features = hub.Features({"image": hub.Image(), "label": label})
    columns = {name: {"image": images(len(row)), "label": row} for name, row in splits.items()}
    return hub.DatasetDict({n: hub.Dataset.from_dict(one, features) for n, one in columns.items()})


def test_a_saved_data_set_is_read_without_decoding(tmp_path) -> None:
    made(train=[1, 0, 1], valid=[0], test=[-1], extra=[0]).save_to_disk(tmp_path / "set")
    root = f"hf://{tmp_path}/set"
    parts = tables.hugging_face(root)
    assert [*map(classes, parts.values())] == [["cat", "zebra", "cat"], ["zebra"]]
    assert same_everywhere(parts["train"]) == [png(n) for n in range(3)]
    assert parts["train"].blobs.name(2) == f"{root}/train/2"
    assert (before := parts["val"].blobs.stamp()) != parts["train"].blobs.stamp()
    os.utime(*(tmp_path / "set/valid").glob("*.arrow"), ns=(1, 1))
    assert parts["val"].blobs.stamp() != before


def test_a_name_is_asked_of_the_hub(monkeypatch) -> None:
    found, asked = {"whole": made(whole=[1, 0])["whole"].with_format("numpy")}, []
    monkeypatch.setattr("datasets.load_dataset", lambda *given: asked.append(given) or found)
    for root in ("hf://pets", "hf://org/pets:small"):
        part = tables.hugging_face(root)["train"]
        assert (classes(part), contents(part)) == (["cat", "zebra"], [png(0), png(1)])
    assert asked == [("pets", None), ("org/pets", "small")]


def test_what_the_hub_says_is_one_line(monkeypatch) -> None:
    def fail(*given):
        raise ConnectionError("Couldn't reach 'pets' on the Hub\nand more")

    pytest.importorskip("datasets", reason="needs datasets")
    monkeypatch.setattr("datasets.load_dataset", fail)
    said = refusal(tables.hugging_face, "hf://pets")
    assert said.startswith("cannot load hf://pets: Couldn't reach 'pets' on the Hub (hf://NAME")
    monkeypatch.setitem(sys.modules, "datasets", None)
    said = refusal(tables.hugging_face, "hf://pets")
    assert said == "hf://pets needs datasets (pip install 'cnnctl[hf]')"
