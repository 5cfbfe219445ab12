from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from cnnctl.report.console import VIEWS
from cnnctl.report.remade import value

RUN = "outputs/train/2026-11-21_14-03-19_autoencoder_digits_7f3a"
METRICS = {"explained": 0.9412, "psnr": 21.337, "mse": 0.00735, "loss": 0.06997}
ENDS = {
    "explained": [0.93, 0.951], "psnr": [21.1, 21.6], "mse": [0.0069, 0.0078], "loss": None,
}  # fmt: skip
KEPT = {
    "seconds": 0.4, "images_per_second": 900.2, "folder": "outputs/evaluate/here",
    "files": ["result.json", "predictions.csv", "worst.png"],
}  # fmt: skip
ONE: dict[str, Any] = {
    "target": "latest", "run": RUN, "checkpoint": f"{RUN}/checkpoints/best.ckpt", "split": "test",
    "n": 1359, "metrics": METRICS, "intervals": ENDS, **KEPT,
}  # fmt: skip
CHANGES: dict[str, Any] = {
    "explained": {"difference": -0.012, "interval": [-0.02, -0.001]},
    "psnr": {"difference": 0.4, "interval": [0.1, 0.7]},
    "mse": {"difference": 0.0004, "interval": None},
    "first_closer": 1200, "second_closer": 159, "better": 0,
}  # fmt: skip
PAIR: dict[str, Any] = {
    "split": "test", "n": 1359, "nets": [ONE, ONE], "comparison": CHANGES, **KEPT,
}  # fmt: skip
TOGETHER: dict[str, Any] = {
    **ONE, "ensemble": {"members": [ONE, ONE], "best": 1, "gain_over_best": CHANGES},
}  # fmt: skip
FILES: dict[str, Any] = {
    "folder": "outputs/predict/here", "failed": [{"file": "x.png", "reason": "not an image"}],
    "predictions": [
        {"file": "a\n.png", "image": "here/a.png", "mse": 0.01, "psnr": 20.0, "explained": -0.5,
         "note": "first of 3 frames"},
    ],
}  # fmt: skip


def lines(view: str, data: dict[str, Any], width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    VIEWS[view](console, data)
    shown = console.file
    assert isinstance(shown, io.StringIO)
    return [line.rstrip() for line in shown.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("view", "data"), [("remade", ONE), ("remade_paired", PAIR), ("remade_together", TOGETHER)]
)
def test_only_paths_are_wider_than_the_terminal(view: str, data: dict[str, Any], width) -> None:
    assert {line for line in lines(view, data, width) if cell_len(line) > width} <= {
        line for line in lines(view, data, width) if RUN in line
    }


def test_a_figure_stands_beside_its_interval() -> None:
    shown = lines("remade", ONE)
    assert shown[0].split() == ["1,359", "images", "of", "test", "95", "%", "interval"]
    assert [line.split() for line in shown[2:6]] == [
        ["explained", "94.12", "%", "93.00", "–", "95.10", "%"],
        ["PSNR", "21.34", "dB", "21.10", "–", "21.60", "dB"],
        ["squared", "error", "0.00735", "0.0069", "–", "0.0078"],
        ["loss", "0.06997", "–"],
    ]
    assert "checkpoint  checkpoints/best.ckpt" in shown
    assert "files       predictions.csv worst.png" in shown


def test_a_file_is_named_alone() -> None:
    shown = lines("remade", {**ONE, "run": "mine.ckpt", "checkpoint": "mine.ckpt"})
    assert [line for line in shown if "mine.ckpt" in line] == ["file    mine.ckpt"]


def test_two_nets_stand_beside_their_difference() -> None:
    shown = lines("remade_paired", PAIR)
    assert [" ".join(line.split()) for line in shown[2:6]] == [
        "explained 94.12 % 94.12 % −1.20 % (−2.00 % to −0.10 %)",
        "PSNR 21.34 dB 21.34 dB +0.40 dB (+0.10 dB to +0.70 dB)",
        "squared error 0.00735 0.00735 +0.0004",
        "loss 0.06997 0.06997",
    ]
    assert "first closer   1,200 images" in shown
    assert "the first is better" in shown


@pytest.mark.parametrize(
    ("better", "text"),
    [
        (0, "the first is better"),
        (1, "the second is better"),
        (None, "within noise: neither is shown to be better"),
    ],
)
def test_who_has_won(better: int | None, text: str) -> None:
    assert text in lines("remade_paired", {**PAIR, "comparison": {**CHANGES, "better": better}})


def test_several_nets_stand_above_all_of_them_together() -> None:
    shown = lines("remade_together", TOGETHER)
    assert [line.split()[:2] for line in shown[2:5]] == [
        ["net", "1"],
        ["net", "2"],
        ["together", "94.12"],
    ]
    assert "against net 2  −1.20 % (−2.00 % to −0.10 %)" in shown
    assert "together they are worse than the best net alone" in shown


def test_files_and_what_was_made_of_them(capsys) -> None:
    shown = lines("remade_files", FILES)
    assert shown[2].split() == ["a\\n.png", "here/a.png", "-50.00", "%", "20.00", "dB"]
    assert "a\\n.png: first of 3 frames" in shown
    assert shown[-1] == "folder  outputs/predict/here"
    assert capsys.readouterr().err == "cnnctl: left out x.png: not an image\n"


def test_csv_holds_numbers_as_they_are(capsys) -> None:
    head, *rows = lines("remade_files_csv", FILES)
    assert head == "file,image,mse,psnr,explained"
    assert (
        rows[-1].endswith(",here/a.png,0.01,20.0,-0.5")
        or rows[-1] == '.png",here/a.png,0.01,20.0,-0.5'
    )
    assert "left out x.png" in capsys.readouterr().err


def test_each_figure_has_its_unit() -> None:
    found = [value(name, METRICS[name]) for name in METRICS]
    assert found == ["94.12 %", "21.34 dB", "0.00735", "0.06997"]
