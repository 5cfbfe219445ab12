from __future__ import annotations

import pytest
import yaml
from omegaconf import OmegaConf

from cnnctl.config import compose, diagnose

MANY = "gives several values (cnnctl train -m runs each; a list is written [1,2])"
OPEN = "a quote that is not closed, or a sign that no key has"


def problems(*overrides: str) -> list[str]:
    with compose.opened():
        _, found = compose.compose("train", overrides)
    return [str(problem) for problem in found]


LONGER = "(there are resnet101, resnet101_v1_5, resnet110, resnet1202, resnet152, …)"


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("nope=1", "unknown key 'nope'"),
        ("optimizer.lrr=1", "unknown key 'optimizer.lrr' (did you mean 'optimizer.lr'?)"),
        (
            "loss.weights=[1,2]",
            "unknown key 'loss.weights' (a key of loss=cross_entropy, loss=dice, loss=focal)",
        ),
        ("loss.gamma=2", "unknown key 'loss.gamma' (a key of loss=focal)"),
        ("optimizer.lr.x=1", "unknown key 'optimizer.lr.x'"),
        ("modle=mlp", "unknown key 'modle' (did you mean 'model'?)"),
        ("recip=x", "unknown key 'recip' (did you mean 'recipe'?)"),
        ("~nope", "unknown key 'nope'"),
        ("=1", "unknown key ''"),
        ("hydra.nope=1", "unknown key 'hydra.nope'"),
        ("model=resnetx", "no 'resnetx' in group 'model' (see: cnnctl list models)"),
        ("model=lenet", "no 'lenet' in group 'model' (did you mean 'lenet5'?)"),
        ("model=5", "no '5' in group 'model' (did you mean 'resnet50_v1_5'?)"),
        (
            "model=resnet",
            f"no 'resnet' in group 'model' {LONGER}",
        ),
        ("model=simple", "no 'simple' in group 'model' (there are simple_cnn)"),
        ("model=null", "no 'null' in group 'model' (see: cnnctl list models)"),
        ("recipe=nope", "no 'nope' in group 'recipe' (see: cnnctl list recipes)"),
        ("model={x: 1}", "model cannot be set to {'x': 1}: Could not override 'model'."),
        ("+seed=1", "'+seed=1' adds a key that is there (leave out the +)"),
        ("+model=mlp", "'+model=mlp' adds a key that is there (leave out the +)"),
        ("seed=1,2", f"'seed=1,2' {MANY}"),
        ("recipe=digits,x", f"'recipe=digits,x' {MANY}"),
        ("seed=range(1,3)", f"'seed=range(1,3)' {MANY}"),
        ("seed='", f"cannot read 'seed='': {OPEN}"),
        ("seed", "cannot read 'seed': Error parsing override 'seed'"),
        ("outputs=[1,", "cannot read 'outputs=[1,': no viable alternative at input '[1,'"),
        ("data=folder", "missing value: data.root (set it with data.root=…)"),
        ("seed=???", "missing value: seed (set it with seed=…)"),
        ("optimizer.lr=${data.nope}", "optimizer.lr: cannot resolve '${data.nope}'"),
        ("seed=${outputt}", "seed: cannot resolve '${outputt}' (did you mean 'outputs'?)"),
        ("seed=${seed}", "seed: cannot resolve '${seed}': Recursive interpolation detected"),
    ],
)  # fmt: skip
def test_one_fault_one_line(override, text) -> None:
    assert problems(override) == [text]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"name: a\nname: b\n", "{file}:2: not valid YAML: found duplicate key name"),
        (
            b"a: \x01\n",
            (
                "{file}: not valid YAML: unacceptable character #x0001: "
                "special characters are not allowed"
            ),
        ),
        (
            b"a: \xe9\n",
            (
                "model=mine: not valid YAML: 'utf-8' codec can't decode byte 0xe9 in position 3: "
                "invalid continuation byte"
            ),
        ),
        (
            b"a: ${x\n",
            "model cannot be set to 'mine': no viable alternative at input '${x'",
        ),
        (
            b"defaults: [_self_, nope: x]\n",
            "model cannot be set to 'mine': In 'model/mine': Could not find 'model/nope/x'",
        ),
    ],
)
def test_files_that_cannot_be_used_are_blamed_themselves(text, told, tmp_path) -> None:
    file = tmp_path / "conf" / "model" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text)
    assert problems("model=mine") == [told.replace("{file}", str(file))]


def test_a_recipe_that_chooses_what_is_not_there_is_blamed_itself(tmp_path) -> None:
    file = tmp_path / "conf" / "recipe" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\ndefaults:\n  - override /model: nope\n")
    assert problems("recipe=mine") == [
        "recipe cannot be set to 'mine': In 'train': Could not find 'model/nope'"
    ]


def test_keys_are_listed_unresolved_and_without_hydras_own() -> None:
    cfg = OmegaConf.create(
        {"a": {"b": "${nope}", "c": {}, "d": [1]}, "e": None, "f": "???", "hydra": {"g": 1}}
    )
    assert list(diagnose.keys(cfg)) == ["a", "a.b", "a.c", "a.d", "e", "f"]


def test_the_first_line_of_an_error_or_of_its_cause_or_its_name() -> None:
    assert diagnose.first_line(ValueError("  a\nb")) == "a"
    assert diagnose.first_line(ValueError()) == "ValueError"
    caused = ValueError()
    caused.__cause__ = KeyError("why\nnot")
    assert diagnose.first_line(caused) == "'why\\nnot'"


def test_a_yaml_error_without_a_place_is_told_of_what_was_asked_for() -> None:
    assert str(diagnose.broken(yaml.YAMLError("odd"), "model=x")) == "model=x: not valid YAML: odd"
