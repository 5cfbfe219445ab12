from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnctl.data import quarantine
from cnnctl.data.files import Files, Names
from cnnctl.data.source import Encoded, Source
from cnnctl.errors import DataError


def source(root: str = "photos") -> Source:
    """Four cats and four dogs to train on, two of each to validate; no file need be there."""
    found = {}
    for split, count in (("train", 4), ("val", 2)):
        paths = [f"{split}/{name}/{i}.png" for name in ("cat", "dog") for i in range(count)]
        labels = np.repeat([0, 1], count)
        found[split] = Encoded(Files(Path(root), Names.from_list(paths)), labels, 3)
    return Source(("cat", "dog"), found, {"gone.png": "empty"}, drawn=("val",))


def without(text: str, root: str = "photos") -> Source:
    Path("bad.txt").write_text(text, encoding="utf-8")
    return quarantine.without(source(root), Path("bad.txt"), root)


def refusal(text: str, root: str = "photos") -> str:
    with pytest.raises(DataError) as caught:
        without(text, root)
    return str(caught.value)


def test_the_others_stay_in_their_splits_in_order() -> None:
    found = without("train/cat/1.png\nval/dog/0.png\n")
    assert found.sizes == {"train": 7, "val": 3}
    train, val = found.splits["train"], found.splits["val"]
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert [train.name(index)[-9:] for index in range(3)] == ["cat/0.png", "cat/2.png", "cat/3.png"]
    assert val.labels.tolist() == [0, 0, 1]
    assert found.drawn == ("val",)


@pytest.mark.parametrize("root", ["photos", "./photos", "{here}/photos", "../{name}/photos"])
@pytest.mark.parametrize(
    "line", ["train/cat/1.png", "{root}/train/cat/1.png", "{here}/photos/train/cat/1.png"]
)
def test_an_image_may_be_named_in_three_ways(tmp_path, root, line) -> None:
    root = root.format(here=tmp_path, name=tmp_path.name)
    found = without(line.format(root=root, here=tmp_path), root)
    assert found.sizes == {"train": 7, "val": 4}
    assert str(Path(root) / "train/cat/1.png") in found.skipped


def test_an_image_of_a_table_is_named_from_the_table_s_folder() -> None:
    Path("table.csv").touch()
    images = Encoded(Files.of(["photos/0.png", "photos/1.png"]), np.array([0, 0]), 3)
    Path("bad.txt").write_text("photos/1.png\n")
    found = quarantine.without(Source(("a",), {"train": images}), Path("bad.txt"), "table.csv")
    assert found.skipped == {"photos/1.png": "listed in bad.txt"}


def test_reasons_stand_behind_a_tab_and_comments_and_empty_lines_do_not_count() -> None:
    text = "# of May\n\ntrain/cat/1.png\tblurred, twice \r\n  \nval/dog/0.png\t\n"
    assert without(text).skipped == {
        "gone.png": "empty",
        "photos/train/cat/1.png": "blurred, twice",
        "photos/val/dog/0.png": "listed in bad.txt",
    }


def test_a_mark_of_windows_and_a_line_twice_do_no_harm() -> None:
    found = without("\ufefftrain/cat/1.png\nphotos/train/cat/1.png\ntrain/cat/1.png\n")
    assert found.sizes == {"train": 7, "val": 4}


def test_an_empty_list_leaves_all() -> None:
    assert without("# nothing yet\n").sizes == {"train": 8, "val": 4}


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("train/cat/7.png", " (did you mean 'train/cat/0.png'?)"),
        ("train/cta/3.png", " (did you mean 'train/cat/3.png'?)"),
        ("tran/dog/3.png", " (did you mean 'train/dog/3.png'?)"),
        ("elsewhere/quite/another.jpg", ""),
    ],
)
def test_a_line_that_names_no_image_is_told_with_the_nearest(line, hint) -> None:
    text = f"bad.txt, line 3: {line} is no image of photos{hint}"
    assert refusal(f"# these\nval/cat/0.png\n{line}\treason\n") == text


def test_a_list_that_cannot_be_read_is_named() -> None:
    with pytest.raises(DataError) as caught:
        quarantine.without(source(), Path("no.txt"), "photos")
    text = "cannot read data.quarantine=no.txt: No such file or directory"
    assert str(caught.value) == text


def test_a_class_of_which_nothing_is_left_is_refused() -> None:
    text = refusal("val/dog/0.png\nval/dog/1.png\n")
    assert text == "bad.txt leaves no image of class 'dog' in val"


def test_names_that_are_not_utf_8_can_be_listed() -> None:
    names = Names.from_list(["a/\udce9.png", "a/0.png", "b/0.png"])
    images = Encoded(Files(Path("x"), names), np.array([0, 0, 1]), 3)
    Path("bad.txt").write_bytes(b"a/\xe9.png\n")
    found = quarantine.without(Source(("a", "b"), {"train": images}), Path("bad.txt"), "x")
    assert found.skipped == {"x/a/\udce9.png": "listed in bad.txt"}
    assert found.sizes == {"train": 2}
