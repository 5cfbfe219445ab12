from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from cnnctl.cli import parse
from cnnctl.commands import conv
from cnnctl.report import console, equations

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
VIEWS = {
    "lecture": "32x32x3 kernel=5 filters=10 stride=1 padding=2",
    "fraction": "7x8 kernel=3 stride=3",
    "bottleneck": "32x32x200 kernel=5 filters=92 padding=same reduce=16",
    "stack": "56x56x64 kernel=3 filters=64 padding=same --stack 3",
    "transposed": "7x7x64 kernel=4 filters=32 stride=2 padding=1 transposed=true",
}


def result(words: str) -> dict[str, Any]:
    return conv.run(parse(["conv", *words.split()])).data


def shown(words: str, width: int = 80) -> list[str]:
    file = io.StringIO()
    terminal = Console(file=file, width=width, highlight=False, markup=False, no_color=True)
    console.VIEWS["worked"](terminal, result(words))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", VIEWS)
def test_each_layer_looks_as_it_did(name: str, width: int, *, overwrite: bool) -> None:
    text = "".join(f"{line}\n" for line in shown(VIEWS[name], width))
    golden = GOLDEN / f"conv_{name}_{width}.txt"
    if overwrite:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "words",
    [
        VIEWS["lecture"],
        "99999x99999x99999 kernel=9 filters=99999 padding=same",
        "399x398x64 kernel=9x7 filters=64 stride=9x8 dilation=3x2 --stack 2",
    ],
)
def test_no_row_is_wrapped(words: str, width: int) -> None:
    lines = shown(words, width)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) == len(shown(words, 400))


def test_a_step_is_named_once() -> None:
    names = [line[:17].rstrip() for line in shown(VIEWS["lecture"])[:11]]
    assert names == [
        "layer", "", "output size", "", "parameters", "", "multiply-adds", "", "memory",
        "receptive field", "",
    ]  # fmt: skip


def test_the_standard_layer_alone_is_no_table() -> None:
    assert len(result("8 kernel=3")["alternatives"]) == 1
    assert not any("alternatives" in line for line in shown("8 kernel=3"))
    assert "" not in shown("8 kernel=3")


def test_alternatives_stand_beside_the_standard_layer() -> None:
    lines = shown("8x8x3 kernel=5 filters=256 padding=2")
    start = next(index for index, line in enumerate(lines) if line.startswith("alternatives"))
    assert [line.split() for line in lines[start + 2 : start + 4]] == [
        ["standard", "19,456", "1,228,800", "1"],
        ["depthwise", "separable", "1,102", "53,952", "0.0439", "4,800", "+", "49,152"],
    ]


def test_a_stack_stands_in_the_place_of_the_alternatives() -> None:
    lines = shown(VIEWS["stack"])
    assert not any(line.startswith("alternatives") for line in lines)
    assert lines[-1] == "C → C       3 · 3·3 C² = 27 C² against 49 C² of one 7×7: ratio 0.551"
    assert lines[-2] == "parameters  110,784"
    assert "1 + (3 − 1)·1 = 3" in lines[-6]
    assert "5 + (3 − 1)·1 = 7" in lines[-4]


def test_a_stack_of_pools_shows_no_costs() -> None:
    lines = shown("224x224x64 kernel=2 pool=max --stack 3", 120)
    assert lines[-5].split() == ["layer", "output", "receptive", "field", "jump"]
    assert " ".join(lines[-1].split()) == "3 28×28×64 4 + (2 − 1)·4 = 8 8"


def test_fractions_in_a_stack_are_named_with_their_layer() -> None:
    lines = shown("11x14 kernel=2 pool=avg --stack 3")
    assert [line.partition("  ")[0] for line in lines[-4:]] == [
        "layer 1", "layer 2", "layer 2", "layer 3",
    ]  # fmt: skip
    assert lines[-4:] == [
        "layer 1  fractions are illegal: height = (11 − 2)/2 + 1 = 5.5",
        "layer 2  fractions are illegal: height = (5 − 2)/2 + 1 = 2.5",
        "layer 2  fractions are illegal: width = (7 − 2)/2 + 1 = 3.5",
        "layer 3  fractions are illegal: width = (3 − 2)/2 + 1 = 1.5",
    ]


def test_a_narrow_terminal_leaves_out_the_costs_of_a_stack_first() -> None:
    words = "56x56x64 kernel=3x5 filters=64 padding=same --stack 2"
    assert "multiply-adds" not in next(line for line in shown(words) if line.startswith("layer  "))
    assert any(line.endswith("multiply-adds") for line in shown(words, 120))


@pytest.mark.parametrize(
    ("words", "growth"),
    [
        ("9 kernel=3 --stack 3", ["1 + (3 − 1)·1 = 3", "3 + (3 − 1)·1 = 5", "5 + (3 − 1)·1 = 7"]),
        ("31 kernel=3 stride=2 --stack 2", ["1 + (3 − 1)·1 = 3", "3 + (3 − 1)·2 = 7"]),
        ("31x40 kernel=3 dilation=2 --stack 2", ["1 + 2·(3 − 1)·1 = 5", "5 + 2·(3 − 1)·1 = 9"]),
        (
            "9 kernel=1x3 --stack 2",
            [
                "height = 1 + (1 − 1)·1 = 1, width = 1 + (3 − 1)·1 = 3",
                "height = 1 + (1 − 1)·1 = 1, width = 3 + (3 − 1)·1 = 5",
            ],
        ),
    ],
)
def test_the_receptive_field_grows_step_by_step(words: str, growth: list[str]) -> None:
    rows = result(words)["stack"]["rows"]
    assert [row["working"]["receptive_field"] for row in rows] == growth
    assert [row["layer"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("9 kernel=3 --stack 2", "2 · 3·3 C² = 18 C² against 25 C² of one 5×5: ratio 0.72"),
        ("9 kernel=3 --stack 1", "1 · 3·3 C² = 9 C² against 9 C² of one 3×3: ratio 1"),
        (
            "9x9x4 kernel=3 filters=4 groups=4 --stack 3",
            "3 · 3·3 C²/4 = 27 C²/4 against 49 C²/4 of one 7×7: ratio 0.551",
        ),
    ],
)
def test_a_stack_is_compared_with_one_kernel_that_sees_as_much(words: str, line: str) -> None:
    assert result(words)["stack"]["working"] == line


def test_the_document_counts_four_bytes_a_value() -> None:
    data = result("8x9x3 kernel=3 filters=5")
    assert (data["activations"], data["bytes"]) == (6 * 7 * 5, 6 * 7 * 5 * equations.BYTES)
    assert equations.BYTES == 4


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("32 kernel=5", ["1 + (5 − 1) = 5", "5×5 pixels of the input, neighbours 1 apart"]),
        (
            "32x40 kernel=5 dilation=2 stride=3",
            ["1 + 2·(5 − 1) = 9", "9×9 pixels of the input, neighbours 3 apart"],
        ),
        (
            "32 kernel=1x5 stride=1x2",
            [
                "height = 1 + (1 − 1) = 1",
                "width = 1 + (5 − 1) = 5",
                "1×5 pixels of the input, neighbours 1×2 apart",
            ],
        ),
        (
            "32 kernel=5 stride=2 transposed=true",
            ["at most 3×3 pixels of the input, neighbours 1/2 apart"],
        ),
    ],
)
def test_what_an_output_sees_is_the_last_step(words: str, lines: list[str]) -> None:
    rows = result(words)["working"]
    assert [row["line"] for row in rows if row["step"] == "receptive field"] == lines
    assert rows[-1]["line"] == lines[-1]
