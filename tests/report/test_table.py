from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from cnnctl.report import table

WORDS = st.text("abcdefgh 0×é", max_size=60)


def drawn(draw, width: int, *args, **options) -> list[str]:
    file = io.StringIO()
    draw(Console(file=file, width=width, highlight=False, markup=False), *args, **options)
    return file.getvalue().splitlines()


def test_pairs_stand_below_each_other() -> None:
    rows = [("net", "lenet5"), ("learning", "[bold]fast[/bold]"), ("run", "")]
    assert drawn(table.pairs, 80, rows) == [
        "net       lenet5", "learning  [bold]fast[/bold]", "run       ",
    ]  # fmt: skip


def test_a_value_that_does_not_fit_ends_in_an_ellipsis() -> None:
    assert drawn(table.pairs, 12, [("run", "outputs/train")]) == ["run  output…"]


def test_a_path_to_be_copied_is_shown_whole() -> None:
    assert drawn(table.pairs, 12, [("run", "outputs/train")], ("run",)) == ["run  outputs/train"]


def test_columns_are_left_out_before_others_are_cut() -> None:
    head, rows = ("run", "seed", "top1"), [["r" * 20, "0", "99.00 %"]]
    options = {"text": ("run",), "gives": ("run",), "drops": ("epochs", "seed")}
    wide = drawn(table.columns, 40, head, rows, **options)
    assert wide[2].split() == ["r" * 20, "0", "99.00", "%"]
    narrow = drawn(table.columns, 30, head, rows, **options)
    assert narrow[0].split() == ["run", "top1"]
    assert narrow[2].split() == ["r" * 20, "99.00", "%"]


def test_numbers_stand_right_and_texts_left() -> None:
    rows = [["a", "1", "x"], ["long", "1,000", "y"]]
    assert drawn(table.columns, 80, ("name", "n", "t"), rows, text=("name", "t")) == [
        "name      n  t",
        "──────────────",
        "a         1  x",
        "long  1,000  y",
    ]


@pytest.mark.parametrize(
    ("width", "rows"),
    [
        (24, ["aaaaaaaaaa  bbbbbbbb  12"]),
        (22, ["aaaaaaa…  bbbbbbbb  12"]),
        (15, ["aaa…  bbbb…  12"]),
    ],
)
def test_the_first_of_those_that_give_way_gives_most(width: int, rows: list[str]) -> None:
    cells = [["a" * 10, "b" * 8, "12"]]
    lines = drawn(
        table.columns, width, ("some", "more", "no"), cells,
        text=("some", "more"), gives=("some", "more"),
    )  # fmt: skip
    assert [" ".join(line.split()) for line in lines[2:]] == [" ".join(row.split()) for row in rows]
    assert max(map(len, lines)) <= width


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, st.integers(0, 10**6)), max_size=5), st.integers(40, 120))
def test_no_row_is_ever_wrapped(rows: list[tuple[str, str, int]], width: int) -> None:
    cells = [[one, two, str(number)] for one, two, number in rows]
    head = ("one", "two", "number")
    lines = drawn(table.columns, width, head, cells, text=head[:2], gives=head[:2])
    assert len(lines) == len(rows) + 2
    assert max(map(cell_len, lines)) <= width
    for line, row in zip(lines[2:], cells, strict=True):
        assert line.rstrip().endswith(row[2])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=9), WORDS), min_size=1, max_size=5))
def test_no_pair_is_ever_wrapped(rows: list[tuple[str, str]]) -> None:
    lines = drawn(table.pairs, 30, rows)
    assert len(lines) == len(rows)
    assert max(map(cell_len, lines)) <= 30
