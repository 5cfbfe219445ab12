from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cnnctl.config import compose, preflight
from cnnctl.data import check, strays
from cnnctl.report import data_page
from cnnctl.report.data import KINDS

VOID = {"meta", "img", "br"}
Photos = Callable[..., Path]


class Page(HTMLParser):
    """The elements of a page; tags have to be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data) -> None:
        if data.strip() and self.open[-1] != "style":
            self.texts.append(" ".join(data.split()))

    def pictures(self) -> list[str]:
        return [attrs["src"] for tag, attrs in self.tags if tag == "img"]


def loaded(root: Path, **changes: Any) -> tuple[dict[str, Any], strays.Loaded]:
    with compose.opened():
        words = ["data=folder", f"data.root='{root}'", "data.size=32"]
        train, _ = preflight.check(*compose.compose("train", words))
    assert train is not None
    data = dataclasses.replace(train.data, **changes)
    found = strays.load(data)
    return check.check(found, data, lambda *_: None) | {"seconds": 1.0}, found


def page(root: Path, name: str = "photos") -> Page:
    document, found = loaded(root)
    return Page(data_page.html(document, found.source, name))


@pytest.fixture
def spoilt(photos: Photos) -> Path:
    """One of everything that can be wrong."""
    root = photos({"train": {"cat": 14, "dog": 6}, "test": {"cat": 2, "eel": 1}})
    cats = root / "train/cat"
    (cats / "0.png").write_bytes(b"")
    shutil.copy(cats / "1.png", cats / "copy.png")
    shutil.copy(cats / "2.png", root / "test/cat/leak.png")
    shutil.copy(cats / "3.png", root / "train/dog/two.png")
    shutil.copy(cats / "4.png", cats / "wrong.jpg")
    shutil.copy(cats / "5.png", cats / "other.jfif")
    return root


def test_every_finding_has_a_section_with_its_pictures(spoilt: Path) -> None:
    document, _ = loaded(spoilt)
    shown = page(spoilt)
    for kind, (title, meaning) in KINDS.items():
        assert (f"{title}:" in " ".join(shown.texts)) == bool(document["findings"][kind]), kind
        assert meaning in shown.texts or not document["findings"][kind]
    assert sum(map(bool, document["findings"].values())) == 9
    assert "no picture" in shown.texts
    assert f"{spoilt}/train/cat/copy.png" in shown.texts
    assert "the file is empty" in shown.texts
    assert all(uri.startswith("data:image/png;base64,") for uri in shown.pictures())


def test_a_page_needs_no_other_file(spoilt: Path) -> None:
    document, found = loaded(spoilt)
    text = data_page.html(document, found.source, "photos")
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert not re.search(r"url\(|@import|<script", text)
    assert text == data_page.html(document, found.source, "photos")


def test_good_data_has_classes_and_a_contact_sheet(photos: Photos) -> None:
    root = photos({"train": {"cat": 30, "dog": 15}, "test": {"cat": 2, "dog": 3}})
    document, found = loaded(root)
    document["findings"] = {kind: [] for kind in document["findings"]}
    shown = Page(data_page.html(document, found.source, "my photos"))
    assert shown.texts.count("my photos") == 1
    assert len(shown.pictures()) == 2 * data_page.IMAGES
    row = shown.texts[shown.texts.index("Images of each class") :]
    assert row[1:13] == [
        "class", "train", "val", "test", "cat", "27", "3", "2", "dog", "13", "2", "3"
    ]  # fmt: skip
    shares = [attrs["style"] for tag, attrs in shown.tags if tag == "td" and "style" in attrs]
    assert shares == [
        f"--s:{share}" for share in ("1.000", "1.000", "0.667", "0.481", "0.667", "1.000")
    ]


def test_names_cannot_be_markup(photos: Photos) -> None:
    root = photos({"train": {"<b>&cat": 12, "dog": 12}})
    (root / "train/<b>&cat/0.png").write_bytes(b"")
    shown = page(root, "<script>alert(1)</script>")
    assert "script" not in [tag for tag, _ in shown.tags]
    assert "<script>alert(1)</script>" in shown.texts
    assert "<b>&cat" in shown.texts


def test_many_findings_and_many_classes_are_cut(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos({"train": {"cat": 40, "dog": 12}})
    for number in range(20):
        (root / f"train/cat/{number}.png").write_bytes(b"")
    assert f"and {20 - data_page.GROUPS} more" in page(root).texts
    monkeypatch.setattr(data_page, "SHEET", 2)
    document, found = loaded(root)
    assert [len(row["pictures"]) for row in data_page._sheet({}, found.source)] in ([0, 1], [1, 1])
    one = {"split": "train", "index": 20, "name": "x", "class": "cat"}
    made = data_page._group("leaks", {"kind": "near", "images": [one] * 9}, found.source)
    assert (len(made["pictures"]), made["more"]) == (6, "and 3 more")
    assert document["wrong"] == ["broken"]
