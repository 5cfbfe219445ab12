from __future__ import annotations

import io
from typing import Any

from audits import MEMORY, layer, net
from rich.console import Console

from cnnctl.report import page, sizes, tabular

ROW: dict[str, Any] = {
    "side": 188, "input": [1, 188, 188], "output": [2, 4, 4], "params": 31_030_658,
    "macs": 6_098_393_344, "activations": 8_691_760, "bytes": 34_767_040,
    "inference_peak_bytes": 17_854_528, "peak": 2_318_697_952, "receptive_field": 204,
    "share": 204 / 188, "sees_all": False, "refused": None,
}  # fmt: skip
LARGE = ROW | {"side": 572, "input": [1, 572, 572], "output": [2, 388, 388], "share": 204 / 572}
SMALL = {**dict.fromkeys(ROW), "side": 100, "refused": "nothing is left"}


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    return net(layer("conv1"), memory=dict(MEMORY), sizes=list(rows))


def drawn(made: dict[str, Any], width: int = 120, *, named: bool = False) -> list[str]:
    file = io.StringIO()
    sizes.told(Console(file=file, width=width, highlight=False), made, named=named)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_line_for_each_size_and_one_for_each_that_is_refused() -> None:
    shown = drawn(document(ROW, LARGE, SMALL))
    assert shown[0] == ""
    head = "image output M macs values MB step MB, batch 2 field of the side"
    assert " ".join(shown[1].split()) == head
    row = "1×188×188 2×4×4 6,098.4 8,691,760 34.77 2,319 204 109 %"
    assert " ".join(shown[3].split()) == row
    assert shown[4].split()[-3:] == ["204", "36", "%"]
    assert shown[5:] == ["no image of 100x100: nothing is left"]


def test_without_sizes_nothing_is_shown() -> None:
    assert drawn(net(layer("conv1"))) == []


def test_several_nets_are_named_and_refused_sizes_alone_have_no_table() -> None:
    assert drawn(document(SMALL), named=True) == [
        "", "tiny", "no image of 100x100: nothing is left",
    ]  # fmt: skip


def test_a_narrow_terminal_drops_columns_and_wraps_no_row() -> None:
    shown = drawn(document(ROW), 64)
    assert "values" not in shown[1]
    assert len(shown) == 4
    assert max(map(len, shown)) <= 64


def test_a_net_that_cannot_be_trained_at_a_size_is_told_so() -> None:
    shown = drawn(document(ROW | {"peak": None, "refused": "one value"}))
    assert "n/a" in shown[3]
    assert shown[4] == "no step of 188x188: one value"


def test_what_sees_everything_or_is_not_known() -> None:
    for seen, told in (((None, True), ["all", "all"]), ((None, None), ["n/a", "n/a"])):
        pixels, everything = seen
        made = ROW | {"receptive_field": pixels, "share": None, "sees_all": everything}
        assert drawn(document(made))[3].split()[-2:] == told
    assert "204+all" in drawn(document(ROW | {"sees_all": True}))[3]


def test_markdown_and_html_have_the_same_rows() -> None:
    made = document(ROW, SMALL)
    text = tabular.md([made])
    (line,) = (line for line in text.splitlines() if line.startswith("| 1×188×188"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["1×188×188", "2×4×4", "6,098,393,344", "8,691,760", "34.77 MB",
                     "2,318.70 MB", "204", "109 %"]  # fmt: skip
    assert "- no image of 100x100: nothing is left" in text
    html = page.html([made])
    assert all(f"{cell}</" in html for cell in ("1×188×188", "2,318.70 MB", "109 %"))
    assert "no image of 100x100: nothing is left" in html
    assert "On images of other sizes" not in page.html([net(layer("conv1"))])
