from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from rich.cells import cell_len
from views import lines

Document = dict[str, Any]
LONG = "Egyptian cat, a domestic cat of Egypt"


def top(*found: tuple[str, float]) -> list[Document]:
    return [{"class": name, "probability": share} for name, share in found]


def document(*rows: Document, failed: list[Document] | None = None) -> Document:
    return {
        "run": "r", "checkpoint": "c", "classes": 3, "seconds": 0.1,
        "predictions": list(rows), "failed": failed or [],
    }  # fmt: skip


CAT = {
    "file": "in/cat.jpg",
    "note": None,
    "top": top(("cat", 0.9861), ("dog", 0.0132), ("fox", 7e-4)),
}
DOG = {
    "file": "in/dog.gif",
    "note": "first of 12 frames",
    "top": top(("dog", 0.5), ("cat", 0.3), ("fox", 0.2)),
}


def deep(length: int, name: str = "x.jpg") -> Document:
    return {**CAT, "file": f"{'d' * (length - len(name) - 1)}/{name}"}


def test_one_image_has_a_row_for_each_class() -> None:
    assert lines("predicted", document(DOG), 80) == [
        "in/dog.gif",
        "class  probability",
        "──────────────────",
        "dog        50.00 %",
        "cat        30.00 %",
        "fox        20.00 %",
        "in/dog.gif: first of 12 frames",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_several_images_have_a_row_each(width: int) -> None:
    head, rule, *rows = (line.rstrip() for line in lines("predicted", document(CAT, DOG), width))
    assert head == "file        class  probability  then"
    assert set(rule) == {"─"}
    assert rows == [
        "in/cat.jpg  cat        98.61 %  dog 1.32 % · fox 0.07 %",
        "in/dog.gif  dog        50.00 %  cat 30.00 % · fox 20.00 %",
        "in/dog.gif: first of 12 frames",
    ]


def test_with_top_1_there_is_no_column_for_others() -> None:
    rows = [{**row, "top": row["top"][:1]} for row in (CAT, DOG)]
    head, _, first, *_ = lines("predicted", document(*rows), 80)
    assert head.split() == ["file", "class", "probability"]
    assert first.split() == ["in/cat.jpg", "cat", "98.61", "%"]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_row_is_wrapped_and_the_name_of_a_file_keeps_its_end(width: int) -> None:
    wide = {**CAT, "file": "数字の画像" * 30 + "/猫.png"}
    named = {**CAT, "top": top((LONG, 0.9), (LONG * 9, 0.05), ("cat", 0.05))}
    shown = lines("predicted", document(deep(300), wide, named, CAT), width)
    assert len(shown) == 2 + 4
    assert max(map(cell_len, shown)) <= width
    assert shown[2].startswith("…d")
    assert "d/x.jpg  " in shown[2]
    assert "猫.png  " in shown[3]


def test_other_classes_are_named_whole_or_not_at_all() -> None:
    many = {**CAT, "top": top(*((f"class {number}", 0.1) for number in range(10)))}
    first, second = lines("predicted", document(many, many), 80)[2:]
    assert first == second
    assert first.rstrip().endswith("class 1 10.00 % · class 2 10.00 % …")
    wide = lines("predicted", document(many, many), 200)[2].rstrip()
    assert wide.endswith("class 8 10.00 % · class 9 10.00 %")
    narrow = lines("predicted", document(many, many), 45)
    assert narrow[0].split() == ["file", "class", "probability"]


def test_names_cannot_steer_the_terminal() -> None:
    odd = {**CAT, "file": "a\nb\x1b[31m\u202e.png", "top": top(("\tcat\r", 1.0))}
    assert lines("predicted", document(odd))[0] == r"a\nb\x1b[31m\u202e.png"
    assert lines("predicted", document(odd))[3].startswith(r"\tcat\r")
    assert r"a\nb\x1b[31m" in lines("predicted", document(odd, CAT))[2]


@pytest.mark.parametrize("view", ["predicted", "predicted_csv"])
def test_what_failed_is_told_on_stderr(view: str, capsys: pytest.CaptureFixture[str]) -> None:
    failed = [{"file": "a\n.png", "reason": "the file is empty"}, {"file": "b", "reason": "no"}]
    shown = lines(view, document(failed=failed))
    assert shown == ([] if view == "predicted" else ["file,rank,class,probability"])
    assert capsys.readouterr() == (
        "", "cnnctl: left out a\\n.png: the file is empty\ncnnctl: left out b: no\n"
    )  # fmt: skip


def test_csv_has_a_row_for_each_class_and_every_digit() -> None:
    odd = {**DOG, "file": 'a,"b"\nc.png', "top": top(("cat, a", 1 / 3))}
    text = "\n".join(lines("predicted_csv", document(CAT, odd)))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0] == {"file": "in/cat.jpg", "rank": "1", "class": "cat", "probability": "0.9861"}
    assert [row["rank"] for row in rows] == ["1", "2", "3", "1"]
    assert rows[3]["file"] == 'a,"b"\nc.png'
    assert (rows[3]["class"], float(rows[3]["probability"])) == ("cat, a", 1 / 3)
