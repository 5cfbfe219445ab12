from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from judged import counted, drawn
from pyarrow import parquet

from cnnctl.scoring import masks_figures, masks_table
from cnnctl.scoring.masks import MaskScores


@pytest.fixture
def found() -> MaskScores:
    """Of four images, the third without a pixel that counts and without an outline."""
    counts = drawn(0, images=4)
    counts[2] = 0
    edge = np.full((4, 3), 0.25)
    edge[2] = math.nan
    return counted(counts, edge=edge, losses=np.array([10.0, 20, 0, 40]))


def test_a_row_has_the_figures_of_its_image(found: MaskScores) -> None:
    rows, wanted = list(masks_table.rows(found)), masks_figures.by_image(found)
    assert [row[0] for row in rows] == ["0.png", "1.png", "2.png", "3.png"]
    assert rows[2] == ("2.png", 0, None, None, None, None, None)
    for place in (0, 1, 3):
        values = dict(zip(masks_table.COLUMNS[1:], rows[place][1:], strict=True))
        assert values == {name: wanted[name][place] for name in values}


def test_csv_leaves_out_what_there_is_not(found: MaskScores, tmp_path: Path) -> None:
    masks_table.write(found, tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert tuple(rows[0]) == masks_table.COLUMNS
    assert rows[2] == dict.fromkeys(masks_table.COLUMNS, "") | {"file": "2.png", "pixels": "0"}
    for row, wanted in zip(rows, masks_table.rows(found), strict=True):
        assert int(row["pixels"]) == wanted[1]
        if wanted[2] is not None:
            assert float(row["miou"]) == pytest.approx(wanted[2], rel=1e-6)
            assert float(row["loss"]) == pytest.approx(wanted[6], rel=1e-6)


def test_names_that_are_no_utf8_are_kept(found: MaskScores, tmp_path: Path) -> None:
    broken = MaskScores(**{**vars(found), "names": ("a\udcff.png", "b", "c", "d")})
    masks_table.write(broken, tmp_path / "p.csv")
    assert b"a\xff.png," in (tmp_path / "p.csv").read_bytes()
    masks_table.write(broken, tmp_path / "p.parquet")
    assert parquet.read_table(tmp_path / "p.parquet")["file"][1].as_py() == "b"


def test_parquet_holds_the_same(found: MaskScores, tmp_path: Path) -> None:
    masks_table.write(found, tmp_path / "p.parquet")
    table = parquet.read_table(tmp_path / "p.parquet")
    assert tuple(table.column_names) == masks_table.COLUMNS
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert rows == list(masks_table.rows(found))
