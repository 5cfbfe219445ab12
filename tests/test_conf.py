from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from cnnctl import nets
from cnnctl.config import (
    audit,
    catalog,
    companions,
    compose,
    paths,
    preflight,
    schema,
    tasks,
    verbs,
)
from cnnctl.config.masks import LOSSES
from cnnctl.config.read import read

OWN = paths.conf_dir()
FILES = sorted(OWN.rglob("*.yaml"))
OPTIONS = [file for file in FILES if file.parent != OWN]
NAMES = [file.relative_to(OWN).as_posix() for file in FILES]
PLAIN = ["optimizer=sgd", "optimizer.momentum=0", "optimizer.weight_decay=0"]
COLOUR = ["data.channels=3", "data.mean=[0,0,0]", "data.std=[1,1,1]"]
NEEDS = {
    "data": {"folder": ["data.root=x"], "folder_masks": ["data.root=x"]},
    "model": {"perceptron": PLAIN}, "recipe": {"unet_isbi": ["data.root=x"]},
    "augment": {"pca_colour": COLOUR},
    "loss": {name: ["model=unet_small"] for name in LOSSES if name != "own"},
    "transfer": {
        name: ["pretrained=latest"]
        for name in ("auto", "feature_extract", "finetune_top", "finetune_all")
    },
}  # fmt: skip
NETS = {file.stem: file for file in (OWN / "model").glob("*.yaml")}
LONG = ["trainer.max_epochs=1000"]


def in_group(group: str) -> list[Path]:
    return [file for file in OPTIONS if file.parent.name == group]


def composed(*overrides: str) -> dict:
    with compose.opened():
        config, problems = compose.compose("train", companions.completed(overrides))
    _, problems = preflight.check(config, problems)
    assert problems == []
    return config


@pytest.mark.parametrize("file", OPTIONS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_option_composes_and_passes_the_schema(file) -> None:
    group, option = file.parent.name, file.stem
    extra = [] if group == "recipe" else LONG
    config = composed(f"{group}={option}", *NEEDS.get(group, {}).get(option, []), *extra)
    if group == "recipe":
        assert config["trainer"]["max_epochs"] >= 1
    else:
        assert config[group]["name"] == option


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_file_opens_with_a_sentence_about_itself(file) -> None:
    about = catalog.header(file)
    assert re.match(r"[A-Z0-9`]", about)
    assert 8 <= len(about) <= 170


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_no_file_can_name_code(file) -> None:
    assert "_target_" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", in_group("model"), ids=lambda file: file.stem)
def test_a_net_names_its_paper_and_has_no_unknown_number(file) -> None:
    text = file.read_text(encoding="utf-8")
    spec, problems = nets.read_spec(catalog.facts(file, NETS))
    assert problems == []
    assert spec is not None
    assert spec.name == file.stem
    if "paper" not in yaml.safe_load(text):
        return
    author, year = re.match(r"(\w+).*?(\d{4})", spec.paper).groups()
    assert int(year) == spec.year
    title = spec.paper.split(f"{year}, ", 1)[1]
    header = " ".join(re.findall(r"^# ?(.*)", text, re.MULTILINE))
    paper = re.search(r"Paper: (.*)", header)[1]
    assert paper.startswith(author)
    assert f"{year}, {title}" in paper


@pytest.mark.parametrize("file", in_group("data"), ids=lambda file: file.stem)
def test_a_data_set_has_the_keys_of_its_class_and_no_other(file) -> None:
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert list(data) == [*dict.fromkeys(data)]
    assert set(data) == set(schema.DATA[file.stem].__dataclass_fields__)


@pytest.mark.parametrize("file", in_group("recipe"), ids=lambda file: file.stem)
def test_a_recipe_says_its_source_command_expected_result_and_time(file) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n")
    command = rf"^# Command: cnnctl train recipe={file.stem}( data\.root=\S+)?$"
    assert re.search(command, text, re.MULTILINE)
    assert re.search(r"^# Source: \w", text, re.MULTILINE)
    assert re.search(r"^# Expected: \w", text, re.MULTILINE)
    assert re.search(r"^# Time: \w", text, re.MULTILINE)


def test_the_recipe_of_the_default_is_the_default() -> None:
    assert composed("recipe=digits") == composed()


@pytest.mark.parametrize("cls", [verbs.Evaluate, verbs.Predict, verbs.Export, verbs.Bench])
def test_a_verb_that_takes_a_run_passes_its_schema(cls) -> None:
    with compose.opened():
        config, problems = compose.compose(cls.__name__.lower(), [])
    assert (problems, read(cls, config)[1]) == ([], [])


@pytest.mark.parametrize("group", audit.GROUPS)
def test_an_audit_takes_every_option_of_its_groups(group) -> None:
    needs = NEEDS["data"]
    with compose.opened():
        for file in in_group(group):
            words = [f"{group}={file.stem}", *needs.get(file.stem, [])]
            config, problems = compose.compose("audit", words)
            typed, found = read(audit.Audit, {"data": None} | config)
            assert (problems, found) == ([], [])
            assert typed is not None
            name = typed.model["name"] if group == "model" else getattr(typed, group).name
            assert name == file.stem


def test_the_zoo_with_every_data_set() -> None:
    for net in in_group("model"):
        needs = NEEDS["model"].get(net.stem, [])
        if tasks.of(catalog.facts(net, NETS)) == "segment":
            continue  # of any size
        config = composed(f"model={net.stem}", "data=folder", "data.root=x", *needs)
        assert config["data"]["size"] == config["model"]["input"][1]
