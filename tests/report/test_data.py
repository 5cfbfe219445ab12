from __future__ import annotations

import copy
import io
from typing import Any

import pytest
from rich.console import Console

from cnnctl.report import console as views
from cnnctl.report import data
from cnnctl.report.data import KINDS, SHOWN

ROOT = "/home/me/photos"


def image(name: str, split: str = "train", label: str = "cat", **more: Any) -> dict[str, Any]:
    full = f"{ROOT}/{split}/{label}/{name}"
    return {"split": split, "index": 0, "name": full, "class": label, **more}


def group(kind: str, *images: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "images": list(images)}


GOOD: dict[str, Any] = {
    "data": "folder", "root": ROOT, "classes": ["cat", "dog"], "drawn": ["val"], "left_out": {},
    "splits": {
        "train": {"images": 45000, "broken": 0, "classes": {"cat": 30000, "dog": 15000}},
        "val": {"images": 5000, "broken": 0, "classes": {"cat": 4000, "dog": 1000}},
    },
    "sizes": {
        "min": {"height": 16, "width": 20}, "median": {"height": 40, "width": 30},
        "max": {"height": 64, "width": 99}, "alike": False, "wanted": 32, "enlarged": 1200,
        "images": 50000,
    },
    "formats": {"JPEG": 49000, "PNG": 1000}, "modes": {"RGB": 50000},
    "balance": {
        "largest": {"class": "cat", "images": 30000}, "smallest": {"class": "dog", "images": 15000},
        "ratio": 2.0, "few": 10,
    },
    "channels": {
        "mean": [0.5], "std": [0.25], "data_mean": [0.5], "data_std": [0.25], "differ": False,
    },
    "near": {"told": True, "distance": 4}, "wrong": [], "seconds": 12.34,
    "findings": {kind: [] for kind in KINDS},
}  # fmt: skip
FINDINGS: dict[str, list[Any]] = {
    "refused": [{"reason": "photos/test has class 'eel', which photos/train lacks"}],
    "broken": [image(f"{number}.jpg", reason="the file is empty") for number in range(8)],
    "classes": [{"class": "eel", "lacking": ["train", "val"]}],
    "leaks": [group("near", image("1.jpg"), image("2.jpg"), image("3.jpg", "test"))],
    "conflicts": [group("bytes", image("1.jpg"), image("1.jpg", label="dog"))],
    "misnamed": [image("1.png", format="JPEG")],
    "unlisted": [{"name": f"{ROOT}/x.jfif", "format": "JPEG"}],
    "duplicates": [group("pixels", image("1.jpg"), image("1.png"))],
    "near": [group("near", image("8.jpg"), image("9.jpg"))],
    "rare": [{"class": "eel", "images": 3}],
}


def bad() -> dict[str, Any]:
    return copy.deepcopy(GOOD) | {"findings": FINDINGS, "wrong": ["refused", "broken", "leaks"]}


def shown(view: str, document: dict[str, Any], width: int = 120) -> str:
    file = io.StringIO()
    views.VIEWS[view](Console(file=file, width=width, highlight=False, markup=False), document)
    return file.getvalue()


def test_good_data_is_its_figures_and_one_line() -> None:
    assert shown("checked", GOOD).splitlines() == [
        f"data     folder · {ROOT}",
        "images   train 45,000 · val 5,000 (drawn)",
        "classes  2 · largest cat (30,000) · smallest dog (15,000) · 2 : 1",
        "size     16×20 to 64×99 · median 40×30 · data.size=32: 1,200 enlarged",
        "formats  JPEG 49,000 · PNG 1,000",
        "modes    RGB 50,000",
        "mean     [0.5] of train · data.mean=[0.5]",
        "std      [0.25] of train · data.std=[0.25]",
        "",
        "✓ nothing that training would stop at or be misled by · 50,000 images in 12.3 s",
    ]


def test_counts_come_first_then_names() -> None:
    out = shown("checked", bad())
    table, _, rest = out.partition("\n\n")[2].partition("\n\n")
    rows = table.splitlines()[2:]
    assert [row.removeprefix("✗ ").partition("  ")[0] for row in rows] == [
        title for title, _ in KINDS.values()
    ]
    assert rows[1].strip().split("  ")[-1].strip() == "stops training"
    assert " 8  " in rows[1]
    assert "3 in 1 group " in rows[3]
    titles = [title for title, _ in KINDS.values()]
    places = [f"\n\n{rest}".index(f"\n\n{title}\n") for title in titles]
    assert places == sorted(places)


def test_the_first_few_are_named_below_the_root() -> None:
    lines = shown("checked", bad()).splitlines()
    start = lines.index("broken images")
    assert lines[start + 1] == "  train/cat/0.jpg  the file is empty"
    assert lines[start + SHOWN + 1] == "  … and 3 more"
    for line in (
        "  eel  not in train, val",
        "  train/cat/1.jpg = test/cat/3.jpg  look equal · and 1 more",
        "  train/cat/1.jpg = train/dog/1.jpg  equal files",
        "  train/cat/1.png  is JPEG",
        "  x.jfif  is JPEG",
        "  train/cat/1.jpg = train/cat/1.png  equal pixels",
        "  eel  3 images",
    ):
        assert line in lines


def test_split_and_class_are_told_where_the_name_does_not() -> None:
    one = {"split": "train", "class": "7", "name": "image 3"}
    other = {"split": "test", "class": "1", "name": "image 9"}
    line, _ = data.LINES["leaks"](group("bytes", one, other), str)
    assert line == "image 3 (train, 7) = image 9 (test, 1)"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_row_is_wrapped(width: int) -> None:
    document = bad()
    document["findings"] = {
        **FINDINGS, "broken": [image("x" * 150 + ".jpg", reason="not an image")],
        "leaks": [group("bytes", image("a" * 90), image("b" * 90, "test"))],
    }  # fmt: skip
    lines = shown("checked", document, width).splitlines()
    assert max(len(line) for line in lines if not line.startswith(("✗", "data "))) <= width
    assert any(line.endswith("xx.jpg  not an image") and line[2] == "…" for line in lines)


def test_what_to_set_where_the_mean_differs() -> None:
    document = copy.deepcopy(GOOD)
    document["channels"] = {
        "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "data_mean": [0.5] * 3,
        "data_std": [0.25] * 3, "differ": True,
    }  # fmt: skip
    assert "\n  data.mean=[0.1,0.2,0.3] data.std=[0.4,0.5,0.6]\n" in shown("checked", document)
    assert "pretrained" not in shown("checked", GOOD)


def test_the_verdict_and_what_led_to_it() -> None:
    line = "✗ training would stop or be misled · 50,000 images in 12.3 s"
    assert data.verdict(bad()) == line
    out = shown("checked", bad(), 80).splitlines()
    assert out[-1] == line
    marked = [row.partition("  ")[0] for row in out if row.startswith("✗")][:-1]
    assert marked == ["✗ cannot be trained on", "✗ broken images", "✗ images in several splits"]
    assert "  photos/test has class 'eel', which photos/train lacks" in out


def test_what_else_a_data_set_can_be() -> None:
    document = copy.deepcopy(GOOD) | {"root": None, "sizes": None, "channels": None, "formats": {}}
    document["left_out"] = {"a": "broken"}
    document["near"] = {"told": False, "distance": 4}
    document["balance"]["ratio"] = 1.0
    facts = dict(data.facts(document))
    assert facts["data"] == "folder"
    assert facts["classes"] == "2 · 30,000 images of each in train"
    assert facts["left out"] == "1 images, as configured"
    assert "too simple" in facts["alike"]
    assert not {"size", "mean", "std", "formats"} & set(facts)


def test_files_that_were_written_are_named() -> None:
    document = copy.deepcopy(GOOD)
    document |= {"quarantine": {"file": "q.txt", "images": 1200}, "report": "p.html"}
    out = shown("checked", document)
    assert "quarantine  q.txt lists 1,200 images to leave out\n" in out
    assert "train with data.quarantine=q.txt\n" in out
    assert "report      p.html\n" in out


def test_a_sheet_is_named() -> None:
    document = {"file": "a/b.png", "augment": "shift", "epochs": 7, "images": [{}] * 8}
    assert shown("sheet", document).splitlines() == [
        "sheet  a/b.png", "shows  8 images, unchanged and in 7 epochs of augment=shift"
    ]  # fmt: skip
