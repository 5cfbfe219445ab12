from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import DATA
from cnnctl.config.read import read
from cnnctl.config.rules_data import splits


def told(name: str = "digits", **changes: Any) -> list[tuple[str, str | None]]:
    numbers = runs.read_config(paths.conf_dir() / "data" / f"{name}.yaml")
    numbers |= {"size": 32, "root": "photos"} if name == "folder" else {}
    data, problems = read(DATA[name], numbers | changes, "data")
    assert problems == []
    assert data is not None
    return [(str(problem), problem.key) for problem in splits(data)]


@pytest.mark.parametrize("name", ["digits", "folder"])
@pytest.mark.parametrize(("folds", "fold"), [(None, None), (2, 0), (2, 1), (5, 4), (10, 0)])
def test_what_fits_together_is_no_problem(name, folds, fold) -> None:
    assert told(name, folds=folds, fold=fold) == []


def test_a_fold_of_nothing() -> None:
    text = "data.fold={} has no effect without data.folds (data.folds={}, or data.fold=null)"
    assert told("folder", fold=0) == [(text.format(0, 5), "data.fold")]
    assert told("folder", fold=7) == [(text.format(7, 8), "data.fold")]


def test_folds_of_which_none_is_chosen() -> None:
    text = "data.folds=5 needs data.fold: which of them is val (data.fold=0 to 4)"
    assert told(folds=5) == [(text, "data.folds")]


@pytest.mark.parametrize("fold", [3, 4, 100])
def test_a_fold_behind_the_last(fold) -> None:
    text = f"data.fold={fold} does not exist: data.folds=3 are counted from 0 (data.fold=0 to 2)"
    assert told(folds=3, fold=fold) == [(text, "data.fold")]


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_shares_of_a_folder_that_leave_nothing(share) -> None:
    text = "data.val_fraction and data.test_fraction leave nothing to train on"
    told_of = [(f"{text} (their sum must be below 1)", "data.val_fraction")]
    assert told("folder", val_fraction=0.5, test_fraction=share) == told_of
    assert told("folder", val_fraction=0.05, test_fraction=share) == []


def test_the_rule_needs_no_torch() -> None:
    program = "import sys, cnnctl.config.rules_data; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
