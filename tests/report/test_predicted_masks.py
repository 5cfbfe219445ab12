from __future__ import annotations

from typing import Any

import pytest
from views import lines

FOLDER = "outputs/predict/2026-11-21_14-03-19_unet_shapes_7f3a"


def row(file: str, *shares: float, note: str | None = None) -> dict[str, Any]:
    names = ("background", "disc", "square", "triangle")
    stem = file.rpartition("/")[2].partition(".")[0]
    return {
        "file": file, "mask": f"{FOLDER}/masks/{stem}.png",
        "overlay": f"{FOLDER}/overlays/{stem}.jpg", "height": 100, "width": 100, "note": note,
        "classes": [
            {"class": name, "pixels": round(10_000 * share), "share": share}
            for name, share in zip(names, shares, strict=False)
        ],
    }  # fmt: skip


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": "outputs/train/run", "folder": FOLDER if rows else None, "failed": [],
        "predictions": list(rows),
    }  # fmt: skip


def test_one_image_has_a_row_for_each_class_and_both_files() -> None:
    assert lines("masks", document(row("photos/1.jpg", 0.9, 0.1))) == [
        "photos/1.jpg",
        "class       pixels    share",
        "───────────────────────────",
        "background   9,000  90.00 %",
        "disc         1,000  10.00 %",
        "",
        f"mask     {FOLDER}/masks/1.png",
        f"overlay  {FOLDER}/overlays/1.jpg",
    ]


def test_several_have_a_row_each_and_their_folder() -> None:
    found = lines("masks", document(row("a/1.png", 0.9, 0.1), row("b/2.png", 0.5, 0.25, 0.25)))
    assert found[0].split() == ["file", "mask", "classes"]
    assert found[2].rstrip() == "a/1.png  1.png  background 90.00 % · disc 10.00 %"
    assert found[3] == "b/2.png  2.png  background 50.00 % · disc 25.00 % · square 25.00 %"
    assert found[-1] == f"folder  {FOLDER}"


def test_classes_that_have_no_room_are_left_out_whole() -> None:
    long = document(row("a/1.png", 0.7, 0.1, 0.1, 0.1), row("b/2.png", 1.0))
    found = lines("masks", long, 60)
    assert found[2].rstrip() == "a/1.png  1.png  background 70.00 % · disc 10.00 % …"
    assert all(len(line) <= 60 for line in found[:4])


def test_notes_stand_below_the_table() -> None:
    noted = row("two.tif", 1.0, note="first of 2 pages")
    assert "two.tif: first of 2 pages" in lines("masks", document(noted))


@pytest.mark.parametrize("view", ["masks", "masks_csv"])
def test_what_failed_is_told_on_stderr(view: str, capsys: pytest.CaptureFixture[str]) -> None:
    failed = [{"file": "bad\n.png", "reason": "not an image"}]
    lines(view, {**document(row("1.png", 1.0)), "failed": failed})
    assert capsys.readouterr().err == "cnnctl: left out bad\\n.png: not an image\n"


def test_the_csv_has_numbers_unrounded() -> None:
    found = lines("masks_csv", document(row("1.png", 1 / 3, 2 / 3)))
    assert found == [
        "file,mask,class,pixels,share",
        f"1.png,{FOLDER}/masks/1.png,background,3333,{1 / 3}",
        f"1.png,{FOLDER}/masks/1.png,disc,6667,{2 / 3}",
    ]
