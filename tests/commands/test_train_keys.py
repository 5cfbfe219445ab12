"""A key of the configuration that does nothing would be a lie: each changes what a run gives."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from cnnctl import runs, weights
from cnnctl.cli import main

WORDS = (
    "model=mlp", "model.hidden=[8]", "data.size=8", "data.batch_size=500", "augment=none",
    "optimizer=sgd", "schedule=constant", "trainer.max_epochs=2", "hardware=cpu", "progress=none",
)  # fmt: skip
EPOCH = 3  # steps
Tensors = dict[str, Tensor]


class Ran(NamedTuple):
    """A finished run: its folder and its result."""

    folder: Path
    result: dict[str, Any]

    @property
    def last(self) -> Tensors:
        """Its last weights."""
        return weights.read(self.folder / "checkpoints/last.ckpt").weights

    @property
    def measured(self) -> tuple[Any, ...]:
        return self.result["val"], self.result["test"]

    def rows(self, name: str) -> list[float]:
        """A column of metrics.csv."""
        with (self.folder / "metrics.csv").open(encoding="utf-8") as file:
            return [float(row[name]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ran]:
    """Run the command line with these words more; the same words run once."""
    kept: dict[tuple[str, ...], Ran] = {}

    def run(*words: str) -> Ran:
        if words not in kept:
            outputs = tmp_path_factory.mktemp("outputs")
            assert main(["train", *WORDS, *words, f"outputs={outputs}"]) == 0
            (folder,) = outputs.glob("train/*")
            result = runs.read_result(folder)
            assert result is not None
            kept[words] = Ran(folder, result)
        return kept[words]

    return run


def equal(one: Tensors, other: Tensors) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def close(one: Tensors, other: Tensors) -> None:
    for name, value in one.items():
        torch.testing.assert_close(value.double(), other[name].double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "key",
    [
        "trainer.ema=0.9",
        "trainer.swa=50%",
        "trainer.label_smoothing=0.1",
        "trainer.clip=0.1",
        "optimizer.layer_decay=0.5",
        "optimizer.decay_norms=false",
        "optimizer.weight_decay=0",
        "hardware.precision=64-true",
        "hardware.precision=bf16-mixed",
        "data.balance=loss",
        "data.balance=sample",
    ],
)
def test_it_changes_the_weights_and_the_figures(train, key) -> None:
    plain, other = train(), train(key)
    assert not equal(plain.last, other.last)
    assert plain.result["weights_sha256"] != other.result["weights_sha256"]
    assert plain.measured != other.measured
    assert plain.result["steps"] == other.result["steps"] == 2 * EPOCH


@pytest.mark.parametrize(
    "key", ["trainer.test_flip=false", "on_nan=rollback", "on_oom=split", "checkpoint.every=1steps"]
)
def test_it_changes_neither(train, key) -> None:
    plain, other = train(), train(key)
    assert equal(plain.last, other.last)
    assert plain.measured == other.measured


def test_a_mean_of_the_weights_is_saved_and_measured_and_learning_goes_on_beside_it(train) -> None:
    averaged = train("trainer.ema=0.9")
    file = averaged.folder / "checkpoints/last.ckpt"
    learnt = torch.load(file, weights_only=True)["current_model_state"]
    assert equal({name.removeprefix("net."): learnt[name] for name in learnt}, train().last)
    assert averaged.rows("train/loss") == train().rows("train/loss")
    assert averaged.rows("val/loss") != train().rows("val/loss")


def test_an_equal_mean_is_that_of_the_ends_of_epochs(train) -> None:
    first, second = train(f"trainer.max_steps={EPOCH}").last, train().last
    close(train("trainer.swa=50%").last, {name: (first[name] + second[name]) / 2 for name in first})


def test_the_rate_of_an_equal_mean_is_reached(train) -> None:
    found = train("trainer.swa=50%", "trainer.swa_lr=0.02")
    assert found.rows("lr")[-1] == pytest.approx(0.02)
    assert not equal(found.last, train("trainer.swa=50%").last)


def test_smoothed_labels_cost_more_in_training_and_not_in_measuring(train) -> None:
    plain, smoothed = train(), train("trainer.label_smoothing=0.5")
    assert smoothed.rows("train/loss")[-1] > plain.rows("train/loss")[-1]
    again = main(["evaluate", str(smoothed.folder), "--json"])
    assert again == 0


def test_layers_near_the_images_learn_slowly(train) -> None:
    """With next to nothing of the rate the first layer stays as it started."""
    still = train("optimizer.layer_decay=1e-12", "optimizer.weight_decay=0").last
    once = train("optimizer.layer_decay=1e-12", "optimizer.weight_decay=0", "trainer.max_steps=1")
    same = {name for name, value in once.last.items() if torch.allclose(value, still[name])}
    assert same == {name for name in still if not name.startswith("output")}


def test_sixty_four_bits_give_nearly_the_same(train) -> None:
    exact = train("hardware.precision=64-true").last
    assert {value.dtype for value in exact.values()} == {torch.float64}
    close(exact, train().last)


def test_mirror_images_are_measured_too_and_nothing_else_changes(train, cnnctl) -> None:
    plain, flipped = train(), train("trainer.test_flip=true")
    assert equal(plain.last, flipped.last)
    assert plain.rows("train/loss") == flipped.rows("train/loss")
    assert plain.rows("val/loss") != flipped.rows("val/loss")
    assert plain.measured != flipped.measured
    again = cnnctl("evaluate", str(flipped.folder), "--json").document["result"]["metrics"]
    wanted = flipped.result["test"]
    assert {name: again[name] for name in wanted} == pytest.approx(wanted, rel=1e-6)
