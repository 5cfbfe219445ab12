from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import audits
import pytest
from rich.cells import cell_len
from rich.console import Console

from cnnctl.report import console

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
COMPARED = ["vgg16", "googlenet", "resnet50", "lenet5", "perceptron"]
WIDE = ["googlenet", "mobilenet_v2", "efficientnet_b0"]
EXACT = {"values": "activations", "params": "params", "weights": "weights"}
ROUNDED = {"MB": ("bytes", 0.01), "kept MB": ("kept_bytes", 0.1), "M macs": ("macs", 0.1)}


def asked(*nets: dict[str, Any], detail: str = "layers", form: str = "table") -> dict[str, Any]:
    return {"nets": list(nets), "detail": detail, "format": form}


def shown(data: dict[str, Any], width: int = 160) -> list[str]:
    file = io.StringIO()
    view = "audited" if len(data["nets"]) == 1 else "compared"
    console.VIEWS[view](Console(file=file, width=width, highlight=False, markup=False), data)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def table(data: dict[str, Any], width: int = 160) -> tuple[str, list[str]]:
    """The head of the table of the layers, and its rows."""
    lines = shown(data, width)
    start = next(place for place, line in enumerate(lines) if line.startswith("layer "))
    return lines[start], lines[start + 2 : lines.index("", start)]


def cell(head: str, row: str, name: str) -> str:
    """What stands in a column of numbers, which ends where its name ends."""
    end = re.search(rf"(?<=  ){re.escape(name)}(?=  |$)", head).end()
    return re.split("  +", row[:end])[-1] if row[end - 1 : end].strip() else ""


def numbers(head: str, rows: list[str], name: str) -> list[float]:
    """The numbers of a column, each as often as its row stands for equal blocks."""
    found, times = [], 1
    for row in rows:
        if row[0] not in "├│└ ":
            times = int(match[1]) if (match := re.search(r" ×(\d+) ", row)) else 1
        text = cell(head, row, name).replace(",", "")
        found += [float(text)] * times if text else []
    return found


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("name", ["vgg16", "resnet18"])
def test_an_audit_looks_as_it_did(name: str, width: int, *, overwrite: bool) -> None:
    compare(f"audited_{name}_{width}", shown(asked(audits.of(name)), width), renew=overwrite)


@pytest.mark.parametrize("width", [80, 120])
def test_a_comparison_looks_as_it_did(width: int, *, overwrite: bool) -> None:
    lines = shown(asked(*map(audits.of, COMPARED)), width)
    compare(f"compared_{width}", lines, renew=overwrite)


def compare(name: str, lines: list[str], *, renew: bool) -> None:
    text, golden = "".join(f"{line}\n" for line in lines), GOLDEN / f"{name}.txt"
    if renew:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("detail", ["blocks", "layers", "all"])
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "mobilenet_v2"])
def test_the_rows_that_are_shown_add_up_to_the_totals(name: str, detail: str) -> None:
    made = audits.of(name)
    shown = table(asked(made, detail=detail))
    for head, key in EXACT.items():
        assert sum(numbers(*shown, head)) == made["totals"][key]
    for head, (key, least) in ROUNDED.items():
        found = numbers(*shown, head)
        total = sum(layer[key] for layer in made["layers"]) / 1e6
        assert sum(found) == pytest.approx(total, abs=least / 2 * len(found))


def test_the_figures_of_vgg16_are_those_that_the_lectures_print() -> None:
    head, rows = table(asked(audits.of("vgg16")))
    first = [
        [
            cell(head, row, name)
            for name in ("output", "values", "MB", "params", "weights", "M macs")
        ]
        for row in rows[:5]
    ]
    assert [row.split()[0] for row in rows[:5]] == [
        "input",
        "conv1_1",
        "conv1_2",
        "pool1",
        "conv2_1",
    ]
    assert first == [
        ["3×224×224", "150,528", "0.60", "0", "0", "0.0"],
        ["64×224×224", "3,211,264", "12.85", "1,792", "1,728", "86.7"],
        ["64×224×224", "3,211,264", "12.85", "36,928", "36,864", "1,849.7"],
        ["64×112×112", "802,816", "3.21", "0", "0", "0.0"],
        ["128×112×112", "1,605,632", "6.42", "73,856", "73,728", "924.8"],
    ]
    fields = {row.split()[0]: cell(head, row, "field") for row in rows}
    assert (fields["pool5"], fields["conv5_3"], fields["fc6"]) == ("212", "196", "all")
    told = audits.of("vgg16")["totals"]
    assert (told["params"], told["weights"]) == (138_357_544, 138_344_128)
    assert (told["activations"], told["bytes"]) == (15_237_608, 60_950_432)
    assert (told["macs"], told["weight_layers"]) == (15_470_264_320, 16)
    assert round(told["bytes"] / 2**20, 2) == 58.13
    slides = told["conventions"]["slides"]
    assert (slides["values"], round(slides["bytes"] / 2**20, 2)) == (24_352_744, 92.90)
    assert round(told["training_macs"]["backward"] / 1e6) == 30_854


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("detail", ["blocks", "layers", "all"])
@pytest.mark.parametrize("name", WIDE)
def test_no_row_of_a_table_is_wrapped_or_cut(name: str, detail: str, width: int) -> None:
    data = asked(audits.of(name), detail=detail)
    _, rows = table(data, width)
    _, wide = table(data, 400)
    assert max(map(cell_len, rows)) <= width
    names = [re.split("  +", row)[0] for row in wide]
    assert [re.split("  +", row)[0] for row in rows] == names


@pytest.mark.parametrize(
    ("width", "names"),
    [
        (160, "layer kernel output values MB kept MB params weights M macs field jump share"),
        (104, "layer kernel output values MB kept MB params weights M macs field"),
        (80, "layer kernel output MB params M macs field"),
        (64, "layer output MB params M macs field"),
    ],
)
def test_a_narrow_terminal_loses_columns_and_the_kernel_last(width: int, names: str) -> None:
    head, _ = table(asked(audits.of("resnet18")), width)
    assert " ".join(head.split()) == names


def test_blocks_as_rows_lose_the_kernel_first() -> None:
    head, rows = table(asked(audits.of("resnet18"), detail="blocks"), 80)
    assert " ".join(head.split()) == "layer output values MB params M macs field"
    assert re.split("  +", rows[4]) == [
        "conv2_1 … conv2_2 ×2", "64×56×56", "401,408", "1.61", "73,984", "231.2", "27–43",
    ]  # fmt: skip
