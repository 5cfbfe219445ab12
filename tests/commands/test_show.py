from __future__ import annotations

from pathlib import Path

import pytest


def test_each_key_has_its_value_and_the_file_or_override_that_set_it(cnnctl) -> None:
    words = ("show", "model=mlp", "recipe=digits", "optimizer.lr=0.01")
    outcome = cnnctl(*words, "--json")
    assert (outcome.code, outcome.err, outcome.document["command"]) == (0, "", "show")
    rows = outcome.document["result"]["keys"]
    assert all(list(row) == ["key", "value", "source"] for row in rows)
    found = {row["key"]: (row["value"], row["source"]) for row in rows}
    assert len(found) == len(rows)
    assert found["optimizer.lr"] == (0.01, "command line: optimizer.lr=0.01")
    assert found["optimizer.betas"] == ([0.9, 0.999], "conf/optimizer/adam.yaml")
    assert found["seed"] == (0, "conf/train.yaml")
    assert found["trainer.max_epochs"][1] == "conf/recipe/digits.yaml"
    assert found["model.hidden"] == ([300], "conf/model/mlp.yaml")
    assert "?" not in {source for _, source in found.values()}
    lines = cnnctl(*words).out.splitlines()
    assert len(lines) == len(rows) + 2
    assert lines[0].split() == ["key", "value", "source"]
    assert lines[2].split() == ["seed", "0", "conf/train.yaml"]


def test_files_of_the_user_are_named_by_their_path(cnnctl) -> None:
    Path("mine/optimizer").mkdir(parents=True)
    text = "name: adam\nlr: 1\nweight_decay: 0\nbetas: [0, 0]\neps: 1\nscaling: none\n"
    file = Path("mine/optimizer/wild.yaml").resolve()
    file.write_text(f"{text}reference_batch: 1\ndecay_norms: true\nlayer_decay: null\n")
    outcome = cnnctl("show", "optimizer=wild", "--config-dir", "mine", "--json")
    found = {row["key"]: row["source"] for row in outcome.document["result"]["keys"]}
    assert found["optimizer.lr"] == str(file)


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["seeed=1"], ["unknown key 'seeed' (did you mean 'seed'?)"]),
        (["data=folder"], ["missing value: data.root (set it with data.root=…)"]),
        (
            ["seed=x", "trainer.max_epochs=0"],
            [
                "seed must be a whole number, got 'x'",
                "trainer.max_epochs must be at least 1, got 0",
            ],
        ),
    ],
)
def test_all_that_is_wrong_is_told_at_once(cnnctl, words: list[str], lines: list[str]) -> None:
    code, out, err = cnnctl("show", *words)
    assert (code, out) == (2, "")
    assert err.splitlines() == [f"cnnctl: error: {line}" for line in lines]


def test_sections_are_shown_alone_in_the_order_given(cnnctl) -> None:
    outcome = cnnctl("show", "schedule", "seed", "seed=3", "--json")
    rows = [(row["key"], row["value"]) for row in outcome.document["result"]["keys"]]
    assert rows == [
        ("schedule.name", "cosine"), ("schedule.warmup", 0), ("schedule.final", 0), ("seed", 3),
    ]  # fmt: skip


SECTIONS = (
    "seed, outputs, progress, on_nan, on_oom, pretrained, pretrained_layers, trainer, checkpoint, "
    "model, data, augment, loss, optimizer, schedule, hardware, transfer, logger"
)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("shedule", "no section 'shedule' (did you mean 'schedule'?)"),
        ("net", f"no section 'net' (sections: {SECTIONS})"),
    ],
)
def test_a_section_that_is_not_there(cnnctl, section: str, line: str) -> None:
    assert cnnctl("show", section) == (2, "", f"cnnctl: error: {line}\n")
