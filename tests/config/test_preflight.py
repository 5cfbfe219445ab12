from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cnnctl.config import compose, preflight
from cnnctl.config.learning import Adam
from cnnctl.config.schema import Train
from cnnctl.errors import ConfigError, Problem

LOOK = """
import json, sys
from cnnctl.config import compose, preflight, provenance
with compose.opened():
    config, problems = compose.compose("train", sys.argv[1:])
    preflight.check(config, problems)
    provenance.sources("train", [])
heavy = ("torch", "torchvision", "pytorch_lightning", "wandb", "numpy", "rich")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def checked(*overrides: str) -> tuple[Train | None, list[str]]:
    with compose.opened():
        config, problems = compose.compose("train", overrides)
    train, problems = preflight.check(config, problems)
    return train, [str(problem) for problem in problems]


def test_a_composed_configuration_becomes_typed() -> None:
    train, problems = checked("optimizer.lr=1", "trainer.max_epochs=3")
    assert problems == []
    assert train is not None
    assert isinstance(train.optimizer, Adam)
    assert (train.optimizer.lr, train.trainer.max_epochs, train.data.mean) == (1.0, 3, (0.3057,))


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("optimizer.lr=fast", "optimizer.lr must be a number, got 'fast'"),
        ("optimizer.lr=-1", "optimizer.lr must be above 0, got -1"),
        ("optimizer.lr=nan", "optimizer.lr must be a number, got nan"),
        ("optimizer.lr=inf", "optimizer.lr must be a number, got inf"),
        ("optimizer.lr=1e400", "optimizer.lr must be a number, got inf"),
        ("data.batch_size=0", "data.batch_size must be at least 1, got 0"),
        ("data.channels=2", "data.channels must be one of 1, 3, got 2"),
        ("seed=1.5", "seed must be a whole number, got 1.5"),
        ("seed=true", "seed must be a whole number, got true"),
        ("optimizer.lr=true", "optimizer.lr must be a number, got true"),
        ("optimizer.betas=[0.1]", "optimizer.betas must be a list of 2 numbers, got [0.1]"),
        ("optimizer.betas=0.9", "optimizer.betas must be a list of 2 numbers, got 0.9"),
        ("trainer=5", "trainer must be a section, got 5"),
        ("outputs=null", "outputs must be text, got null"),
        ("schedule.warmup=200%", "schedule.warmup must be at most 100%, got '200%'"),
        ("~seed", "missing key 'seed'"),
        ("~optimizer.lr", "missing key 'optimizer.lr'"),
        ("~optimizer", "missing key 'optimizer'"),
        ("+key=1", "unknown key 'key'"),
        ("++optimizer.lrr=1", "unknown key 'optimizer.lrr' (did you mean 'optimizer.lr'?)"),
    ],
)  # fmt: skip
def test_one_fault_one_line(override, text) -> None:
    assert checked(override) == (None, [text])


def test_problems_of_composing_and_of_the_schema_stand_in_one_error() -> None:
    overrides = [
        "nope=1",
        "model=resnetx",
        "optimizer.lr=-1",
        "seed=x",
        "data=folder",
        "outputs=[1",
    ]
    train, problems = checked(*overrides)
    assert train is None
    assert problems == [
        "cannot read 'outputs=[1': no viable alternative at input '[1'",
        "no 'resnetx' in group 'model' (see: cnnctl list models)",
        "unknown key 'nope'",
        "missing value: data.root (set it with data.root=…)",
        "seed must be a whole number, got 'x'",
        "optimizer.lr must be above 0, got -1",
    ]


def test_rules_are_told_beside_values_of_another_section() -> None:
    assert checked("data.std=[1, 2]", "seed=x")[1] == [
        "seed must be a whole number, got 'x'",
        "data.std must have one number per channel, got [1.0, 2.0] (data.channels is 1)",
    ]


def test_a_key_is_told_once_and_by_the_first() -> None:
    first = [Problem("a", key="x"), Problem("b"), Problem("c")]
    more = [Problem("d", key="x"), Problem("e", key="y"), Problem("f")]
    texts = [str(problem) for problem in preflight.merge(first, more)]
    assert texts == ["a", "b", "c", "e", "f"]


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        (["model.kernel=3"], True),
        (["seed=1", "+model.x=3"], True),
        (["model=mlp"], False),
        (["models.x=1", "logger.group=model.x"], False),
    ],
)
def test_whether_numbers_of_the_net_are_set(overrides, changes) -> None:
    assert preflight.changes_model(overrides) is changes


def test_problems_are_raised_together() -> None:
    preflight.require([])
    with pytest.raises(ConfigError) as caught:
        preflight.require([Problem("a"), Problem("b", "hint")])
    assert str(caught.value) == "a\nb (hint)"


@pytest.mark.parametrize("words", [[], ["optimizer.lrr=1", "model=resnetx", "seed=x"]])
def test_nothing_heavy_is_imported(words) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *words], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_a_name_set_by_hand_does_not_change_the_keys_around_it() -> None:
    _, problems = checked("optimizer.name=sgd", "optimizer.lr=2")
    assert problems == [
        "'optimizer.name=sgd' changes a name, not the choice (choose with optimizer=sgd)"
    ]
