from __future__ import annotations

from pathlib import Path

import pytest

from cnnctl.config import catalog


def put(file: Path, text: str, encoding: str = "utf-8") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(encoding))
    return file


def test_a_net_with_its_cost() -> None:
    (row,) = [row for row in catalog.models() if row["name"] == "lenet5"]
    assert row == {
        "name": "lenet5",
        "family": "lenet",
        "year": 1998,
        "paper": "LeCun et al. 1998, Gradient-based learning applied to document recognition",
        "params": 61706,
        "macs": 416520,
        "input": [1, 32, 32],
        "classes": 10,
    }


def test_a_net_of_the_users_own_has_no_cost(tmp_path) -> None:
    put(tmp_path / "model" / "mine.yaml", "# Mine.\nfamily: mlp\nyear: 2024\ninput: [1, 8, 8]\n")
    (row,) = [row for row in catalog.models([tmp_path]) if row["name"] == "mine"]
    assert row == {
        "name": "mine", "family": "mlp", "year": 2024, "paper": None,
        "params": None, "macs": None, "input": [1, 8, 8], "classes": None,
    }  # fmt: skip


def test_data_sets_and_a_size_that_the_net_decides() -> None:
    rows = {row["name"]: row for row in catalog.datasets()}
    assert {"digits", "folder", "mnist", "cifar10", "imagenet", "fake"} < set(rows)
    digits, folder = rows["digits"], rows["folder"]
    assert digits == {
        "name": "digits", "channels": 1, "size": 32, "licence": "CC BY 4.0",
        "source": "UCI Machine Learning Repository, Optical Recognition of Handwritten Digits",
    }  # fmt: skip
    assert folder == {
        "name": "folder", "channels": 3, "size": "the net's", "licence": "your own",
        "source": "a folder of images",
    }  # fmt: skip


def test_options_of_a_group_in_order() -> None:
    rows = catalog.options("optimizer")
    assert [row["name"] for row in rows] == ["adam", "adamw", "rmsprop", "sgd"]
    assert rows[0] == {"name": "adam", "about": "Adam (Kingma, Ba 2015, algorithm 1)"}
    assert catalog.options("nope") == []


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("# One sentence.\nname: x\n", "One sentence"),
        ("# Two lines of\n# one sentence. Another.\n", "Two lines of one sentence"),
        ("# @package _global_\n# A recipe. More\n", "A recipe"),
        ("# He et al. 2016, 3.4 of it.\n", "He et al. 2016, 3.4 of it"),
        ("name: x\n# Not a header.\n", ""),
        ("", ""),
    ],
)
def test_the_first_sentence_of_a_header(text, about, tmp_path) -> None:
    assert catalog.header(put(tmp_path / "x.yaml", text)) == about


@pytest.mark.parametrize("text", ["# Mine.\nname: [\n", "# Mine.\n- 1\n", "# Mine.\nname: é\n"])
def test_an_unreadable_file_is_listed_without_facts(text, tmp_path) -> None:
    put(tmp_path / "model" / "mine.yaml", text, "latin-1")
    (row,) = [row for row in catalog.models([tmp_path]) if row["name"] == "mine"]
    assert {value for key, value in row.items() if key != "name"} == {None}
    (option,) = [row for row in catalog.options("model", [tmp_path]) if row["name"] == "mine"]
    assert option == {"name": "mine", "about": "Mine"}


def test_options_that_have_a_key() -> None:
    assert catalog.having("loss", "gamma") == ["focal"]
    assert catalog.having("loss", "weights") == ["cross_entropy", "dice", "focal"]
    assert "fcn8s" in catalog.having("model", "padding")  # which stands in fcn32s
    assert catalog.having("loss", "nope") == []
    assert catalog.having("nope", "weights") == []
