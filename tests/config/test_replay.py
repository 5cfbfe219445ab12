from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from cnnctl.config import compose, replay

MANY = "gives several values (cnnctl train -m runs each; a list is written [1,2])"
RECIPE = (
    "'recipe=digits' does not fit a saved run, which has all choices "
    "(compose from groups: cnnctl train recipe=digits)"
)


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def base() -> dict[str, Any]:
    with compose.opened():
        return compose.compose("train", [])[0]


def replayed(base: dict[str, Any], *overrides: str) -> tuple[dict[str, Any], list[str]]:
    with compose.opened():
        config, problems = replay.replay(copy.deepcopy(base), overrides)
    return config, [str(problem) for problem in problems]


def test_a_replay_without_overrides_is_the_saved_configuration(base) -> None:
    assert replayed(base) == (base, [])


def test_a_group_choice_replaces_its_section_wholly_and_before_the_keys(base) -> None:
    base["optimizer"]["lr"] = 7
    config, problems = replayed(base, "optimizer.lr=1", "optimizer=sgd", "seed=3")
    assert problems == []
    assert config == {
        **base,
        "seed": 3,
        "optimizer": {
            "name": "sgd", "lr": 1, "weight_decay": 0.0001, "momentum": 0.9, "nesterov": False,
            "scaling": "none", "reference_batch": 256, "decay_norms": True, "layer_decay": None,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("recipe=digits", RECIPE),
        ("seed.x=1", "unknown key 'seed.x'"),
        ("+seed=1", "'+seed=1' changes the keys of a saved run"),
        ("++seed=1", "'++seed=1' changes the keys of a saved run"),
        ("~seed", "'~seed' changes the keys of a saved run"),
        ("~model", "'~model' changes the keys of a saved run"),
        ("sed=1", "unknown key 'sed' (did you mean 'seed'?)"),
        ("optimizer.lrr=1", "unknown key 'optimizer.lrr' (did you mean 'optimizer.lr'?)"),
        ("trainer={x: 1}", "trainer cannot be set to {'x': 1}: Key 'x' is not in struct"),
        ("model=resnetx", "no 'resnetx' in group 'model' (see: cnnctl list models)"),
        ("model=null", "no 'null' in group 'model' (see: cnnctl list models)"),
        ("model=lenet5,mlp", f"'model=lenet5,mlp' {MANY}"),
        ("seed=1,2", f"'seed=1,2' {MANY}"),
        ("seed=${nope}", "seed: cannot resolve '${nope}'"),
        ("seed='", "cannot read 'seed='': a quote that is not closed, or a sign that no key has"),
        ("seed=[", "cannot read 'seed=[': no viable alternative at input '['"),
        ("data=folder", "missing value: data.root (set it with data.root=…)"),
    ],
)
def test_what_a_replay_refuses(base, override, text) -> None:
    assert replayed(base, override)[1] == [text]


def test_broken_yaml_in_a_replay_is_named_with_its_line(base, tmp_path) -> None:
    put(tmp_path / "conf" / "model" / "mine.yaml", "name: [\n")
    file = tmp_path / "conf" / "model" / "mine.yaml"
    (problem,) = replayed(base, "model=mine")[1]
    assert problem.startswith(f"{file}:2: not valid YAML: ")
