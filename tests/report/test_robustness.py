from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from cnnctl.errors import UsageError
from cnnctl.report import robustness
from cnnctl.scoring.changes import CHANGES

PNG = b"\x89PNG\r\n\x1a\n"


def swept(*kinds: Any, top1: float = 0.9861) -> dict[str, Any]:
    """Accuracy that falls by a tenth at each strength."""
    found = {}
    for kind in kinds:
        points = []
        for place, strength in enumerate(CHANGES[kind].strengths):
            left = top1 - place / 10
            interval = [max(0.0, left - 0.02), min(1.0, left + 0.02)]
            points.append({"strength": strength, "top1": left, "interval": interval})
        found[kind] = {"unit": CHANGES[kind].unit, "points": points}
    return {"kinds": found, "n": 1359}


def lines(data: dict[str, Any], width: int) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False, markup=False, no_color=True)
    robustness.robustness(console, data)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_one_kind(width: int) -> None:
    assert lines(swept("rotate"), width) == [
        "top-1 of 1,359 unchanged images: 98.61 % (95 % interval 97–100 %)",
        "",
        "rotate, degrees       10       20       30       45       60       90",
        "─────────────────────────────────────────────────────────────────────",
        "top-1            88.61 %  78.61 %  68.61 %  58.61 %  48.61 %  38.61 %",
        "95 % interval    87–91 %  77–81 %  67–71 %  57–61 %  47–51 %  37–41 %",
    ]


def test_every_kind_has_all_its_strengths_in_80_columns() -> None:
    found = lines(swept(*CHANGES, top1=0.9), 80)
    assert max(len(line) for line in found) <= 80
    assert len(found) == 1 + 5 * len(CHANGES)
    for kind, change in CHANGES.items():
        (head,) = (line for line in found if line.startswith(f"{kind}, "))
        assert head.startswith(f"{kind}, {change.unit}  ")
        assert head.split()[-6:] == [f"{strength:g}" for strength in change.strengths[1:]]


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_has_fewer_strengths(width: int) -> None:
    found = lines(swept("occlusion"), width)
    assert max(len(line) for line in found[1:]) <= width
    assert found[2].split()[-1] == "60"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_is_written_and_the_same_again(ending: str, tmp_path: Path) -> None:
    file, data = tmp_path / f"robustness.{ending}", swept("shift", "noise")
    assert robustness.plot(data, file) == str(file)
    first = file.read_bytes()
    if ending == "png":
        assert first.startswith(PNG)
    else:
        assert ET.fromstring(first).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
    robustness.plot(data, file)
    assert file.read_bytes() == first
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == [file.name]


@pytest.mark.parametrize(("count", "across", "down"), [(1, 1, 1), (3, 3, 1), (5, 3, 2), (8, 4, 2)])
def test_a_panel_for_each_kind(count: int, across: int, down: int) -> None:
    kinds = list(CHANGES)[:count]
    made = robustness.figure(swept(*kinds))
    assert [axes.get_title("left") for axes in made.axes] == kinds
    assert [axes.get_xlabel() for axes in made.axes] == [CHANGES[kind].unit for kind in kinds]
    grid = made.axes[0].get_gridspec()
    assert grid is not None
    assert (grid.ncols, grid.nrows) == (across, down)


def test_a_panel_shows_the_figures_and_their_intervals() -> None:
    data = swept("scale", "blur")
    for axes, (kind, one) in zip(robustness.figure(data).axes, data["kinds"].items(), strict=True):
        before, curve = axes.get_lines()
        strengths = list(CHANGES[kind].strengths)
        top1 = [point["top1"] for point in one["points"]]
        assert list(curve.get_xdata()) == strengths  # pyright: ignore[reportArgumentType]
        assert list(curve.get_ydata()) == top1  # pyright: ignore[reportArgumentType]
        assert set(before.get_ydata()) == {top1[0]}  # pyright: ignore[reportArgumentType]
        (band,) = axes.collections
        edges = {(float(x), float(y)) for x, y in band.get_paths()[0].vertices}  # pyright: ignore[reportGeneralTypeIssues]
        for point in one["points"]:
            assert {(point["strength"], end) for end in point["interval"]} <= edges
        assert axes.get_ylim() == (0, 1.03)


def test_no_text_is_cut_off_or_covers_another() -> None:
    for count in (1, 2, 5, 8):
        made = robustness.figure(swept(*list(CHANGES)[:count]))
        made.draw_without_rendering()
        renderer: Any = made.canvas.get_renderer()  # pyright: ignore[reportAttributeAccessIssue]
        texts = [*made.texts]
        for axes in made.axes:
            texts += [axes.xaxis.label, axes._left_title]  # pyright: ignore[reportAttributeAccessIssue]
        boxes = [text.get_window_extent(renderer) for text in texts]
        for number, box in enumerate(boxes):
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= made.bbox.x1
            assert box.y1 <= made.bbox.y1
            assert not any(box.overlaps(other) for other in boxes[:number])


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"takes a file that ends in \.png or \.svg, got 'x\.gif'"):
        robustness.plot(swept("blur"), Path("x.gif"))


def test_a_place_that_cannot_be_written_to_is_told() -> None:
    with pytest.raises(UsageError, match=r"cannot write nowhere/x\.png: No such file or directory"):
        robustness.plot(swept("blur"), Path("nowhere/x.png"))
