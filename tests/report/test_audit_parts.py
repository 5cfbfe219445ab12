"""Single parts of an audit on a terminal: cells, columns, what stands below, written formats."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import audits
import pytest
from audits import MEMORY, UNTRAINED, layer, net, residual
from rich.console import Console

from cnnctl.report import audit, console, document, formats


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


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "3×3 p1"),
        ({"padding": [0, 0]}, "3×3"),
        ({"kernel": [7, 7], "stride": [2, 2], "padding": [3, 3]}, "7×7 /2 p3"),
        ({"kernel": [1, 7], "padding": [0, 3]}, "1×7 p0×3"),
        ({"stride": [2, 1], "padding": [0, 0]}, "3×3 /2×1"),
        ({"dilation": [2, 2], "padding": [2, 2]}, "3×3 p2 d2"),
        ({"groups": 32}, "3×3 p1 g32"),
        ({"transposed": True, "stride": [2, 2]}, "3×3 /2 p1 up"),
        ({"kernel": None}, ""),
    ],
)
def test_a_kernel_is_told_with_what_is_not_usual(changes: dict[str, Any], text: str) -> None:
    assert audit.kernel(layer("conv", **changes)) == text


def test_a_layer_without_a_window_has_no_kernel() -> None:
    assert audit.kernel(layer("fc", "dense")) == ""


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"receptive_field": 212}, "212"),
        ({"receptive_field": 212, "sees_enough": True}, "212*"),
        ({"receptive_field": 7, "receptive_field_by_axis": [1, 7]}, "1×7"),
        ({"receptive_field": 7, "sees_all": True}, "7+all"),
        ({"receptive_field": None, "sees_all": True}, "all"),
        ({"receptive_field": None, "sees_all": None}, "n/a"),
    ],
)
def test_a_field_is_pixels_or_the_whole_image(changes: dict[str, Any], text: str) -> None:
    assert audit.field(layer("conv", **changes)) == text


@pytest.mark.parametrize("convention", ["saved", "peak"])
def test_where_the_columns_are_of_the_batch_the_bytes_that_are_kept_stand_alone(
    convention: str,
) -> None:
    head, rows = table(asked(audits.of("vgg16", convention)))
    assert " ".join(head.split()) == (
        "layer kernel output kept MB params weights M macs field jump share"
    )
    assert cell(head, rows[1], "kept MB") == "411.0"


def test_small_nets_are_told_in_thousands() -> None:
    head, rows = table(asked(audits.of("lenet5")))
    assert [cell(head, rows[1], name) for name in ("kB", "kept kB", "k macs")] == [
        "18.82", "602.1", "117.6",
    ]  # fmt: skip


def test_the_share_is_that_of_the_largest_layer() -> None:
    _, rows = table(asked(audits.of("lenet5")))
    assert [row.count("█") for row in rows] == [0, 4, 0, 8, 0, 2, 0, 0]
    _, idle = table(asked(net(layer("pool", "pool", macs=0))))
    assert "█" not in "".join(idle)


def test_what_cannot_be_trained_is_shown_without_what_it_keeps() -> None:
    made = net(layer("conv", kept_bytes=None), memory=UNTRAINED)
    head, rows = table(asked(made))
    assert [cell(head, row, "kept kB") for row in rows] == ["0.3", "n/a"]
    assert "not available: a reason" in shown(asked(made))
    lines = shown(asked(made, net(layer("conv"))))
    assert lines[2].split()[-1] == "n/a"
    assert "no step of tiny: a reason" in lines


def test_equal_blocks_are_explained_only_where_there_are_any() -> None:
    note = "×: so many equal blocks, each of them as its row and the rows below it"
    twice = net(*residual("b1", 1), *residual("b2", 5))
    assert note in shown(asked(twice))
    assert note in shown(asked(twice, detail="blocks"))
    assert note not in shown(asked(net(*residual("b1", 1))))
    head, rows = table(asked(twice))
    assert [cell(head, row, "field") for row in rows] == ["1", "5–9", "5", "3", "5", "5"]
    assert [row.split("  ")[0] for row in rows[1:3]] == ["b1 … b2 ×2", "├ branch"]


def test_a_net_is_named_with_its_paper_if_it_has_one() -> None:
    assert shown(asked(net(layer("conv"))))[:2] == ["net    tiny · a paper", "image  1×4×4"]
    assert shown(asked(net(layer("conv"), about=None)))[0] == "net    tiny"


def test_steps_of_several_nets_that_differ_have_no_common_batch() -> None:
    one = net(layer("conv"), memory=MEMORY)
    other = net(layer("conv"), memory=MEMORY | {"batch_size": 3}, name="other")
    assert shown(asked(one, one))[0].endswith("step MB, batch 2")
    lines = shown(asked(one, other))
    assert lines[0].endswith("  step MB")
    assert "step of other: 3 images · 32-true · adam · cpu" in lines


def test_what_is_asked_for_beside_the_table_is_shown_for_one_net_and_for_several() -> None:
    what_if = [{"precision": "32-true", "optimizer": "sgd", "batch_size": 2, "peak": 1}]
    made = net(layer("conv"), what_if=what_if)
    more = {"against": [], "plot": "a folder/nets.png"}
    for data in (asked(made) | more, asked(made, made) | more):
        lines = shown(data)
        before = [lines[n - 1] for n, line in enumerate(lines) if line.startswith("precision ")]
        assert before == ([""] if len(data["nets"]) == 1 else ["tiny", "tiny"])
        assert "kB at the peak of a training step" in lines
        assert "no published figures are known here" in lines
        assert "picture  a folder/nets.png" in lines


@pytest.mark.parametrize("form", ["csv", "md", "dot", "html"])
@pytest.mark.parametrize("count", [1, 2])
def test_written_formats_are_printed_as_they_are(form: str, count: int) -> None:
    nets = [net(layer("[bold]x"))] * count
    file = io.StringIO()
    view = audit.audited if count == 1 else audit.compared
    view(Console(file=file, width=20), asked(*nets, form=form))
    assert file.getvalue() == formats.text(nets, form)


@pytest.mark.parametrize("count", [1, 2])
def test_the_format_json_is_the_document_of_the_flag(count: int) -> None:
    data = asked(*[net(layer("conv"))] * count, form="json")
    text = "\n".join(shown(data, 20))
    assert text == document.success("audit", data)
    assert json.loads(text)["result"] == data
