from __future__ import annotations

import csv
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from answered import guessed, scored
from pyarrow import parquet

from cnnctl.errors import CnnctlError, UsageError
from cnnctl.scoring import predictions
from cnnctl.scoring.predictions import COLUMNS

LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 5.0, 0.0], [9.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 2, 0, 1])


def test_what_is_said_of_each_image() -> None:
    found = predictions.of(scored(LOGITS, LABELS))
    assert found.predicted.tolist() == [0, 2, 1, 0]
    assert found.right.tolist() == [True, True, False, False]
    shares = LOGITS.softmax(1)
    assert torch.equal(found.probability, shares.max(1).values)
    ahead = shares.sort(1, descending=True).values
    torch.testing.assert_close(found.margin, ahead[:, 0] - ahead[:, 1])
    assert found.among_top5 is None
    assert len(found) == 4


@pytest.mark.parametrize("classes", [5, 6])
def test_the_best_five_matter_with_more_than_five_classes(classes: int) -> None:
    scores = guessed(50, classes, skill=0)
    found = predictions.of(scores)
    if classes == 5:
        assert found.among_top5 is None
        return
    five = (scores.logits.topk(5).indices == scores.labels[:, None]).any(1)
    assert found.among_top5 is not None
    assert torch.equal(found.among_top5, five)


def test_of_equal_logits_the_first_class_is_named_first() -> None:
    """In few bits they are usual; topk takes any of them."""
    logits = torch.zeros(7, 7)
    logits[:, 3] = torch.tensor([0.0, 1, 1, 1, 1, 1, 1])
    found = predictions.of(scored(logits, torch.tensor([0, 0, 3, 4, 5, 6, 2])))
    assert found.predicted.tolist() == [0, 3, 3, 3, 3, 3, 3]
    assert found.right.tolist() == [True, False, True, False, False, False, False]
    assert found.among_top5 is not None
    assert found.among_top5.tolist() == [True, True, True, True, False, False, True]


def test_a_net_with_one_class_is_ahead_of_nothing() -> None:
    found = predictions.of(scored(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)))
    assert found.margin.tolist() == found.probability.tolist() == [1.0, 1.0]


def test_losses_are_known_only_of_cross_entropy() -> None:
    losses = predictions.of(scored(LOGITS, LABELS)).losses
    assert losses is not None
    wanted = -LOGITS.double().log_softmax(1)[torch.arange(4), LABELS]
    torch.testing.assert_close(losses, wanted)
    assert predictions.of(scored(LOGITS, LABELS, loss=0.1)).losses is None
    unknown = replace(scored(LOGITS, LABELS), loss=None)
    assert predictions.of(unknown).losses is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_refused(value: float) -> None:
    logits = LOGITS.clone()
    logits[1, 1] = value
    with pytest.raises(CnnctlError, match="no numbers for 1 of 4 images") as caught:
        predictions.of(scored(logits, LABELS, loss=1.0))
    assert caught.value.exit_code == 1
    assert "hardware.precision" in str(caught.value.hint)


@pytest.mark.parametrize(("most", "worst"), [(0, []), (1, [3]), (9, [3, 2])])
def test_mistakes_come_with_the_surest_first(most: int, worst: list[int]) -> None:
    assert predictions.mistakes(predictions.of(scored(LOGITS, LABELS)), most) == worst


def test_equally_sure_mistakes_keep_their_order() -> None:
    logits = torch.tensor([[1.0, 0.0]]).repeat(5, 1)
    found = predictions.of(scored(logits, torch.ones(5, dtype=torch.int64)))
    assert predictions.mistakes(found, 3) == [0, 1, 2]


def test_a_csv_has_a_row_for_every_image(tmp_path) -> None:
    found = predictions.of(replace(scored(LOGITS, LABELS), names=("ä,b", 'c"d', "e", "f\udcff")))
    file = tmp_path / "found.csv"
    predictions.write(found, file)
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as opened:
        head, *rows = csv.reader(opened)
    assert tuple(head) == COLUMNS == ("file", "label", "prediction", "probability", "margin")
    assert [row[0] for row in rows] == ["ä,b", 'c"d', "e", "f\udcff"]
    assert [row[1:3] for row in rows[1:3]] == [["class 2", "class 2"], ["class 0", "class 1"]]
    shares = torch.tensor([float(row[3]) for row in rows])
    torch.testing.assert_close(shares, found.probability, rtol=1e-6, atol=0)
    assert [float(row[4]) for row in rows] == pytest.approx(found.margin.tolist(), rel=1e-6)
    assert b"\r" not in file.read_bytes()


def test_parquet_holds_the_same(tmp_path) -> None:
    found = predictions.of(guessed(20, 4))
    predictions.write(found, tmp_path / "found.parquet")
    table = parquet.read_table(tmp_path / "found.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert table.column("file").to_pylist() == list(found.scores.names)
    assert torch.equal(torch.tensor(table.column("margin").to_pylist()), found.margin)
    labels = [f"class {label}" for label in found.scores.labels.tolist()]
    assert table.column("label").to_pylist() == labels
    said = [f"class {label}" for label in found.predicted.tolist()]
    assert table.column("prediction").to_pylist() == said


def test_a_name_that_is_no_text_does_not_cost_the_evaluation(tmp_path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    scores = replace(scored(LOGITS, LABELS), names=(name, "b", "c", "d"))
    for kind in ("csv", "parquet"):
        predictions.write(predictions.of(scores), tmp_path / f"all.{kind}")
    assert parquet.read_table(tmp_path / "all.parquet")["file"][0].as_py() == "caf\\xe9.png"
    assert b"caf\xe9.png" in (tmp_path / "all.csv").read_bytes()


def test_parquet_without_pyarrow_is_refused_before_anything_is_measured(monkeypatch) -> None:
    predictions.check("parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    predictions.check("csv")
    with pytest.raises(UsageError) as caught:
        predictions.check("parquet")
    assert "cnnctl[parquet]" in str(caught.value)
    assert not list(Path.cwd().glob("*.parquet"))
