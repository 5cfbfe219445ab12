from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import Augment
from cnnctl.config.read import read
from cnnctl.config.rules_augment import OWN_LOSS, augment
from cnnctl.nets import FAMILIES

NONE = runs.read_config(paths.conf_dir() / "augment" / "none.yaml")
RAND = {"policy": "randaugment", "ops": 2, "magnitude": 9}


def chosen(**changes: Any) -> Augment:
    found, problems = read(Augment, NONE | changes, "augment")
    assert problems == []
    assert found is not None
    return found


def broken(channels: int = 3, size: int = 32, family: str = "resnet", **changes: Any):
    parts = {
        "augment": chosen(**changes),
        "data": SimpleNamespace(channels=channels, size=size),
        "model": {"family": family},
    }
    return [(str(problem), problem.key) for problem in augment(parts)]


@pytest.mark.parametrize(
    ("changes", "text", "about"),
    [
        (
            {"ops": 2},
            (
                "augment.ops=2 has no effect without augment.policy=randaugment "
                "(augment=randaugment, or set augment.ops=null)"
            ),
            "augment.ops",
        ),
        (
            {"policy": "trivial", "magnitude": 0},
            (
                "augment.magnitude=0 has no effect without augment.policy=randaugment "
                "(augment=randaugment, or set augment.magnitude=null)"
            ),
            "augment.magnitude",
        ),
        (
            RAND | {"ops": None},
            "augment.policy=randaugment needs augment.ops (set augment.ops=2)",
            "augment.ops",
        ),
        (
            RAND | {"magnitude": None},
            "augment.policy=randaugment needs augment.magnitude (set augment.magnitude=9)",
            "augment.magnitude",
        ),
        (
            {"colour": 0.1, "channels": 1},
            ("augment.colour=0.1 needs colour images (data.channels is 1; set augment.colour=0)"),
            "augment.colour",
        ),
        (
            {"elastic": [68, 4], "size": 8},
            (
                "augment.elastic: smoothness 4 is too much for images of 8 pixels "
                "(below 1.875; set augment.elastic=[3.7, 0.94])"
            ),
            "augment.elastic",
        ),
        (
            {"mixup": 0.2, "family": "perceptron"},
            (
                "augment.mixup=0.2 mixes labels, but the loss of perceptron takes one each "
                "(set augment.mixup=0)"
            ),
            "augment.mixup",
        ),
        (
            {"cutmix": 1, "family": "lenet_1998"},
            (
                "augment.cutmix=1 mixes labels, but the loss of lenet_1998 takes one each "
                "(set augment.cutmix=0)"
            ),
            "augment.cutmix",
        ),
    ],
)
def test_each_rule(changes, text, about) -> None:
    assert broken(**changes) == [(text, about)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        RAND,
        RAND | {"magnitude": 0},
        {"policy": "trivial"},
        {"colour": 0.1},
        {"colour": 0, "channels": 1},
        {"elastic": [34, 4], "size": 17},
        {"elastic": [34, 1.8], "size": 8},
        {"mixup": 0.2, "cutmix": 1},
        {"mixup": 0.2, "family": "lenet"},
        {"family": "perceptron"},
    ],
)
def test_the_edge_of_each_rule_is_allowed(changes) -> None:
    assert broken(**changes) == []


def test_all_broken_rules_are_told_at_once() -> None:
    found = broken(channels=1, size=8, family="perceptron", ops=1, magnitude=1, colour=1,
                   elastic=[1, 9], mixup=1, cutmix=1)  # fmt: skip
    names = ("ops", "magnitude", "colour", "elastic", "mixup", "cutmix")
    assert [about for _, about in found] == [f"augment.{name}" for name in names]


def test_rules_are_checked_for_the_sections_that_can_be_read() -> None:
    bad = chosen(ops=1, colour=1, mixup=1)
    assert list(augment({})) == []
    assert [problem.key for problem in augment({"augment": bad})] == ["augment.ops"]
    parts = {"augment": bad, "model": {"family": "perceptron"}}
    assert [problem.key for problem in augment(parts)] == ["augment.ops", "augment.mixup"]
    assert [problem.key for problem in augment(parts | {"model": {}})] == ["augment.ops"]


@pytest.mark.parametrize("size", range(1, 40))
def test_what_the_rule_allows_can_be_reflected_once(size) -> None:
    for tenths in range(1, 110):
        reach = int(8 * tenths / 10 + 1) // 2
        refused = bool(broken(size=size, elastic=[1, tenths / 10]))
        assert refused == (reach > size - 1)


def test_families_with_a_loss_of_their_own_are_known() -> None:
    assert set(OWN_LOSS) <= set(FAMILIES)


@pytest.mark.parametrize("flip", [0, 1])
def test_flips_by_turns_need_a_turn(flip) -> None:
    text = f"augment.flip_alternates=true has no effect with augment.flip={flip}"
    wanted = [(f"{text} (set augment.flip=0.5)", "augment.flip_alternates")]
    assert broken(flip=flip, flip_alternates=True) == wanted
    assert broken(flip=flip) == []
    assert broken(flip=0.5, flip_alternates=True) == []
