from __future__ import annotations

import sys

import pytest
from hydra.plugins.config_source import ConfigSource

from cnnctl.config import compose, library


def composed(*overrides: str) -> tuple[dict, list]:
    with compose.opened():
        return compose.compose("train", overrides)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("torchvision/resnet18", 224),
        ("torchvision/inception_v3", 299),
        ("timm/inception_v4", 299),
        ("timm/resnet18d.ra2_in1k", 224),
    ],
)
def test_a_net_of_a_library_brings_the_keys_of_every_net(name, size) -> None:
    config, problems = composed(f"model={name}")
    assert problems == []
    library_name = name.partition("/")[0]
    assert config["model"] == {
        "name": name, "family": "library", "year": None, "paper": f"as {library_name} has it",
        "input": [3, size, size], "classes": 1000, "twin": name, "init": "torch", "strict": False,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["torchvision/raft_large", "torchvision/nope", "timm/nope"])
def test_a_net_that_cannot_be_looked_up_composes_and_is_refused_later(name) -> None:
    config, problems = composed(f"model={name}")
    assert problems == []
    assert config["model"]["input"] == [3, 224, 224]


def test_without_timm_its_nets_still_compose(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert library.section("timm/resnet18d")["input"] == [3, 224, 224]


@pytest.mark.parametrize("name", ["tim/resnet18", "torchvision/", "torchvision", "timm"])
def test_anything_else_is_no_option(name) -> None:
    _, problems = composed(f"model={name}")
    (problem,) = problems
    assert problem.message.startswith(f"no '{name}' in group 'model'")
    assert "library" not in str(problem)


def test_the_keys_of_a_library_net_can_be_changed_and_swept() -> None:
    config, problems = composed("model=timm/resnet18d", "model.strict=true")
    assert (problems, config["model"]["strict"]) == ([], True)
    with compose.opened():
        points = compose.points(["model=lenet5,timm/resnet18d,torchvision/alexnet"])
    assert points == [["model=lenet5"], ["model=timm/resnet18d"], ["model=torchvision/alexnet"]]


def test_the_source_lists_nothing_and_answers_for_nothing_else() -> None:
    source = library.LibraryNets("cnnctl", "library://nets")
    assert isinstance(source, ConfigSource)
    assert source.available()
    assert source.list("model", None) == []
    assert not source.is_group("model/timm")
    assert [source.is_config(path) for path in ("model/timm/x", "data/timm/x", "timm/x")] == [
        True, False, False,
    ]  # fmt: skip
