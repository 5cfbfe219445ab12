"""What stands beside the totals where it is asked for: budgets, other steps, published figures."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import audits
import pytest
from audits import MEMORY, layer, net
from rich.cells import cell_len
from rich.console import Console

from cnnctl.audit import paper
from cnnctl.report import totals

FIT = {
    "name": "3GB", "budget": 3 * 10**9, "reserve": 639_000_000, "batch_size": 1044,
    "peak": 2_320_000_000, "wanted": 64, "fits": False,
}  # fmt: skip


def drawn(view: Callable[..., None], *args: Any, width: int = 120, **options: Any) -> list[str]:
    file = io.StringIO()
    view(Console(file=file, width=width, highlight=False, markup=False), *args, **options)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def trained(**changes: Any) -> dict[str, Any]:
    """The small net, trained otherwise."""
    return net(layer("conv1"), memory=MEMORY | changes)


def test_budgets_of_one_net() -> None:
    found = [FIT, FIT | {"name": "1B", "batch_size": 0, "peak": 0, "reserve": 0},
             FIT | {"name": "24GB", "fits": True}]  # fmt: skip
    assert drawn(totals.budgets, [trained() | {"budget": found}]) == [
        "",
        "budget  largest batch  its tensors  reserve  batch",
        "────────────────────────────────────────────────────────────",
        "3GB             1,044      2.32 GB   639 MB  64 does not fit",
        "1B               none            –     0 MB  64 does not fit",
        "24GB            1,044      2.32 GB   639 MB  64 fits",
    ]
    assert drawn(totals.budgets, [trained()]) == []


def test_budgets_of_several_nets_name_them() -> None:
    nets = [trained() | {"budget": [FIT]}, trained() | {"name": "other", "budget": [FIT]}]
    shown = drawn(totals.budgets, nets, width=80)
    assert [line.split()[0] for line in shown[1:] if line[:1] != "─"] == ["net", "tiny", "other"]


def test_the_reserve_of_a_gpu_is_said_to_be_an_estimate() -> None:
    told = "reserve: context and fragments, estimated and not calibrated on a GPU"
    assert drawn(totals.budgets, [trained(accelerator="gpu") | {"budget": [FIT]}])[-1] == told
    assert told not in drawn(totals.budgets, [trained() | {"budget": [FIT]}])


def test_steps_made_otherwise() -> None:
    rows = [
        {"precision": kind, "optimizer": rule, "batch_size": batch, "peak": peak}
        for kind, rule, batch, peak in (
            ("32-true", "sgd", 8, 326_600_000), ("32-true", "sgd", 16, 1_505_000_000),
            ("bf16-mixed", "sgd", 8, None), ("bf16-mixed", "sgd", 16, 1),
        )
    ]  # fmt: skip
    made = trained() | {"what_if": rows}
    table = [
        "precision   optimizer  batch 8  batch 16",
        "────────────────────────────────────────",
        "32-true     sgd            327     1,505",
        "bf16-mixed  sgd            n/a         0",
        "MB at the peak of a training step",
    ]
    assert drawn(totals.what_if, made, named=False) == ["", *table]
    assert drawn(totals.what_if, made, named=True) == ["", "tiny", *table]
    assert drawn(totals.what_if, trained(), named=True) == []
    small = trained() | {"what_if": [one | {"peak": 12_345} for one in rows]}
    assert drawn(totals.what_if, small, named=False)[-1] == "kB at the peak of a training step"


def test_published_figures_stand_beside_computed_ones() -> None:
    rows = paper.compare(audits.of("alexnet"))
    shown = drawn(totals.against, rows, width=80)
    assert shown[1].split() == ["figure", "published", "computed", "deviation", "source"]
    assert shown[3].split("  Kriz")[0].split() == [
        "input", "activations", "150,528", "154,587", "+2.7", "%",
    ]  # fmt: skip
    assert len(shown) == 3 + len(rows)
    assert max(map(cell_len, shown)) <= 80


def test_published_figures_of_several_nets_name_them_and_no_number_is_cut() -> None:
    rows = [row for name in ("vgg16", "googlenet") for row in paper.compare(audits.of(name))]
    shown = drawn(totals.against, rows, width=80)
    assert shown[1].split()[:2] == ["net", "figure"]
    assert {line.split()[0] for line in shown[3:]} == {"vgg16", "googlenet"}
    assert len(shown) == 3 + len(rows)
    for line, row in zip(shown[3:], rows, strict=True):
        assert f" {row['computed']:,} " in line
        assert row["printed"] in line


def test_published_figures_that_cannot_be_compared() -> None:
    (row,) = paper.compare(audits.of("vgg16"))
    shown = drawn(totals.against, [row | {"computed": None, "deviation": None}])
    assert re.search(r"138 million +n/a +n/a +Simonyan", shown[3])
    assert drawn(totals.against, []) == ["", "no published figures are known here"]
    assert drawn(totals.against, None) == []


@pytest.mark.parametrize("width", [80, 120])
def test_no_row_is_wrapped(width: int) -> None:
    rows = [row for name in ("vgg16", "googlenet") for row in paper.compare(audits.of(name))]
    nets = [trained() | {"name": "n" * 90, "budget": [FIT]}, trained() | {"budget": [FIT]}]
    assert max(map(cell_len, drawn(totals.against, rows, width=width))) <= width
    shown = drawn(totals.budgets, nets, width=width)
    assert (len(shown), max(map(cell_len, shown))) == (5, width)
    assert all(line.endswith("64 does not fit") for line in shown[3:])
