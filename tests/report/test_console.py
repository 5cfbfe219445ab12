from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from views import EVALUATED, MODELS, PLAN, TRAINED, VIEWS, lines

from cnnctl.report import console
from cnnctl.report.result import Result

RUN = {
    "run": "2026-11-21_14-03-19_deeplabv3_resnet50_oxford_pets_masks_7f3a",
    "model": "deeplabv3_resnet50", "data": "oxford_pets_masks", "seed": 123456,
    "state": "unfinished", "epochs": 1000, "val_top1": 1.0, "test_top1": 1.0, "val_miou": None,
    "test_miou": None, "val_explained": None, "test_explained": None,
}  # fmt: skip
GOLDEN = Path(__file__).resolve().parent.parent / "golden"


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("view", VIEWS)
def test_each_view_looks_as_it_did(view: str, width: int, *, overwrite: bool) -> None:
    text = "".join(f"{line.rstrip()}\n" for line in lines(view, VIEWS[view], width))
    golden = GOLDEN / f"{view}_{width}.txt"
    if overwrite:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("view", "data", "expected"),
    [
        ("plan", PLAN, 10),
        ("evaluated", EVALUATED, 9 + 1 + 4 + 1 + 4 + 1 + 3 + 1 + 5),
        ("listing", MODELS, 4),
        ("listing", {"data": [{"name": "d", "source": "s" * 200, "licence": "l" * 50}]}, 3),
        ("listing", {"runs": [{"run": "r" * 90, "model": "m", "data": "d", "state": "s"}]}, 3),
        ("listing", {"runs": [RUN, {**RUN, "val_top1": None, "val_explained": -9.9999}]}, 4),
        ("listing", {"recipes": [{"name": "n", "about": "a" * 200}]}, 3),
        ("keys", {"keys": [{"key": "k", "value": "v" * 99, "source": "s" * 99}]}, 3),
    ],
)
def test_no_row_is_wrapped(view: str, data: dict[str, Any], expected: int, width: int) -> None:
    shown = lines(view, data, width)
    assert len(shown) == expected
    assert max(map(cell_len, shown)) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_runs_of_all_tasks_share_two_columns_that_say_which_figure_it_is(width) -> None:
    other = {**RUN, "val_top1": None, "test_top1": None, "val_miou": 0.5}
    none = {**other, "val_miou": None}
    head, _, *shown = lines("listing", {"runs": [RUN, other, none]}, width)
    assert head.split()[-3:] == ["figure", "val", "test"]
    assert [line.split()[-5:] for line in shown[:1]] == [["top1", "100.00", "%", "100.00", "%"]]
    assert shown[1].split()[-4:] == ["miou", "50.00", "%", "–"]
    assert shown[2].split()[-3:] == ["–", "–", "–"]
    assert "top1" not in head + shown[1] + shown[2]


def test_runs_of_a_multirun_and_their_plans_stand_below_each_other() -> None:
    shown = lines("several", {"runs": [TRAINED, PLAN]}, 80)
    assert [number for number, line in enumerate(shown) if line == "─" * 80] == [0, 14]
    assert shown[15].startswith("net        lenet5")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (False, "false"), (1e-8, "1e-08"), ([1, 2], "[1, 2]")],
)
def test_values_are_shown_as_they_are_typed(value: object, text: str) -> None:
    rows = {"keys": [{"key": "k", "value": value, "source": "s"}]}
    assert re.split(r"  +", lines("keys", rows)[2].strip()) == ["k", text, "s"]


def test_results_go_to_stdout_and_what_is_going_on_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.render(Result("text", {"text": "[bold]as it is[/bold]\n"}))
    console.plan(console.out(stderr=True), PLAN)
    out, err = capsys.readouterr()
    assert out == "[bold]as it is[/bold]\n"
    assert err.splitlines() == lines("plan", PLAN)
    assert "\x1b" not in err


def test_every_view_that_a_command_names_exists() -> None:
    source = Path(console.__file__).parent.parent / "commands"
    text = "".join(file.read_text() for file in source.glob("*.py"))
    views = set(re.findall(r'"(\w+)"', " ".join(re.findall(r"Result\(([^,]+),", text))))
    told = re.findall(r'told\(\s*one, predict, "(\w+)"', text)  # as a table, or as CSV
    assert views | {f"{view}{end}" for view in told for end in ("", "_csv")} == set(console.VIEWS)
    assert json.dumps(VIEWS)
