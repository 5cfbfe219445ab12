from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from cnnctl.data.preview_masks import PairRow
from cnnctl.report import data, data_masks_sheet, palette, sheet

NAMES = ("background", "cell", "nucleus")


def document(**changes: Any) -> dict[str, Any]:
    split = {
        "images": 4, "broken": 0, "ignored": 0,
        "pixels": {"background": 900, "cell": 100, "nucleus": 0},
        "holding": {"background": 4, "cell": 3, "nucleus": 0},
    }  # fmt: skip
    side = {"height": 64, "width": 80}
    sizes = {"min": side, "median": side, "max": side, "alike": True, "wanted": 32, "enlarged": 0}
    findings: dict[str, list[Any]] = {kind: [] for kind in data.OF_MASKS}
    return {
        "data": "folder_masks", "root": "cells", "classes": list(NAMES), "drawn": ["val"],
        "splits": {"train": split, "val": split}, "left_out": {}, "examples": {}, "sizes": sizes,
        "formats": {"PNG": 8}, "modes": {"L": 8}, "channels": None, "near": {"told": True},
        "findings": findings, "wrong": [], "seconds": 1.0,
    } | changes  # fmt: skip


def printed(told: dict[str, Any], width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    data.checked(console, told)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_facts_are_about_pixels() -> None:
    text = printed(document())
    assert "images   train 4 · val 4 (drawn)" in text
    largest = "largest background (90.00% of train) · smallest nucleus (0 of train)"
    assert f"classes  3 · {largest}" in text
    assert "size     all 64×80 · data.size=32: none smaller" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["cell"] == ["10.00%", "3", "10.00%", "3"]
    assert rows["nucleus"] == ["0", "0", "0", "0"]
    assert "ignored" not in rows


def test_ignored_pixels_have_a_row_where_there_are_any() -> None:
    told = document()
    told["splits"] = {name: split | {"ignored": 250} for name, split in told["splits"].items()}
    (line,) = [line for line in printed(told).splitlines() if line.startswith("ignored")]
    assert line.split() == ["ignored", "20.00%", "20.00%"]


def test_small_shares_are_not_rounded_to_nothing() -> None:
    told = document()
    pixels = {"background": 10**6, "cell": 1, "nucleus": 0}
    told["splits"] = {name: one | {"pixels": pixels} for name, one in told["splits"].items()}
    assert "<0.01%" in printed(told)


def test_nothing_counts() -> None:
    told = document()
    none = dict.fromkeys(NAMES, 0)
    told["splits"] = {name: one | {"pixels": none} for name, one in told["splits"].items()}
    assert "classes  3 · no pixel of train counts" in printed(told)


def test_smaller_images_are_told() -> None:
    told = document()
    told["sizes"] = told["sizes"] | {"enlarged": 3, "alike": False}
    wanted = "64×80 to 64×80 · median 64×80 · data.size=32: 3 smaller, completed by mirroring"
    assert wanted in printed(told)


def test_findings_have_words_for_masks() -> None:
    told = document()
    told["findings"] = told["findings"] | {
        "broken": [{"name": "cells/images/1.png", "class": "", "reason": "has no mask"}],
        "absent": [{"class": "nucleus", "images": 0}],
        "blank": [{"name": "cells/images/2.png", "class": ""}],
    }
    told["wrong"] = ["broken"]
    text = printed(told)
    assert "✗ images or masks that cannot be used" in text
    assert "  images/1.png  has no mask\n" in text
    assert "classes without a pixel in train" in text
    assert "  images/2.png\n" in text
    assert "✗ training would stop or be misled · 8 images in" in text


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_drops_columns_before_it_wraps(width) -> None:
    told = document(classes=[*NAMES[:2], "nucleus"])
    text = printed(told, width)
    assert max(map(len, text.splitlines())) <= max(width, 80)
    assert "train images" in text


def row(label: str, ignored: bool = False) -> PairRow:  # noqa: FBT001, FBT002 - of a test
    masks = [np.zeros((20, 30), np.uint8), *[np.zeros((16, 16), np.uint8)] * 3]
    masks[0][5:10, 5:10] = 255 if ignored else 2
    images = [np.full((3, *one.shape), 128, np.uint8) for one in masks]
    return PairRow(label, label, images, masks)


def test_every_image_has_its_mask_beside_it() -> None:
    heads, rows, legend = data_masks_sheet.sheet([row("a"), row("b")], NAMES)
    assert heads == ["whole", "mask", "epoch 0", "mask", "epoch 1", "mask", "epoch 2", "mask"]
    assert [len(one.pictures) for one in rows] == [8, 8]
    image, over = rows[0].pictures[:2]
    assert (image == 128).all()
    colour = palette.colours()[2]
    assert over[:, 5, 5].tolist() == colour.tolist()  # an edge
    assert over[:, 7, 7].tolist() == pytest.approx((128 + colour.astype(float)) / 2, abs=1)
    assert over[:, 0, 0].tolist() == [128, 128, 128]
    assert [mark.name for mark in legend] == list(NAMES)
    assert legend[0].colour is None
    assert legend[2].colour == tuple(colour.tolist())


def test_ignored_pixels_are_in_the_legend_where_there_are_any() -> None:
    assert data_masks_sheet.sheet([row("a", ignored=True)], NAMES)[2][-1].name == "ignored"


def test_the_legend_stands_below_the_pictures_in_as_many_lines_as_it_needs() -> None:
    heads, rows, legend = data_masks_sheet.sheet([row("a")], NAMES)
    plain, few, many = (
        Image.open(io.BytesIO(sheet.png(heads, rows, "title", marks)))
        for marks in ([], legend, legend * 20)
    )
    assert plain.width == few.width == many.width
    assert plain.height < few.height < many.height
    colour = tuple(palette.colours()[2].tolist())
    below = few.crop((0, plain.height - sheet.MARGIN, few.width, few.height))
    assert colour in {found for _, found in below.getcolors(10**6)}  # pyright: ignore[reportOptionalIterable]
