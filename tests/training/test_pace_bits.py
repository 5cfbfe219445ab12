"""Steps that the task makes against Lightning's own: the same bits, however many come at once."""

from __future__ import annotations

import pytest
import torch
from lightnings import MLP, Work, lightnings, told, worker

from cnnctl.training import start


@pytest.fixture
def worked(tmp_path, monkeypatch) -> Work:
    """Trains with so many batches at once."""
    return worker(tmp_path / "outputs", monkeypatch)


def agree(rows: list[dict[str, str]], wanted: list[dict[str, float]]) -> None:
    """Figures of all epochs, to the six digits of metrics.csv."""
    assert len(rows) == len(wanted)
    for row, figures in zip(rows, wanted, strict=True):
        assert {name: row[name] for name in figures} == {
            name: f"{value:.6g}" for name, value in figures.items()
        }


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=adam", "schedule=cosine", "schedule.warmup=5steps"),
        ("optimizer=sgd", "optimizer.nesterov=true", "trainer.clip=0.05"),
        ("optimizer=sgd", "schedule=one_cycle", "schedule.warmup=30%", "augment=flip_crop"),
        ("optimizer=rmsprop", "schedule=multistep", "schedule.milestones=[1]"),
        ("model=lenet5", "hardware.precision=bf16-mixed", "augment=none"),
        ("hardware.precision=bf16-mixed", "trainer.clip=0.1", "data.balance=loss"),
        ("augment.mixup=0.4", "data.balance=sample", "schedule=constant"),
    ],
    ids=" ".join,
)
def test_the_weights_are_those_of_lightnings_own_steps(prepare, worked, overrides) -> None:
    mlp = () if any(one.startswith("model=") for one in overrides) else MLP
    job = prepare(*mlp, "trainer.max_epochs=2", *overrides)
    result, rows, probe = worked(job, 8)
    expected, figures = lightnings(job)
    assert result["weights_sha256"] == expected
    agree(rows, figures)
    assert probe.lengths == [1, 1, 8, 8, 2, 8, 8, 4]


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.accumulate=2", "schedule=cosine"),
        ("trainer.accumulate=2", "trainer.clip=0.05", "optimizer=sgd"),
        ("trainer.accumulate=4", "hardware.precision=bf16-mixed", "model=lenet5"),
        ("trainer.accumulate=8", "optimizer=adamw"),  # the last step has four batches
        ("schedule=plateau", "schedule.patience=0", "optimizer.lr=0.3", "trainer.max_epochs=4"),
        ("schedule=plateau", "schedule.patience=0", "optimizer.lr=0.3", "schedule.warmup=7steps"),
    ],
    ids=" ".join,
)
def test_so_they_are_with_parts_of_steps_and_with_a_plateau(prepare, worked, overrides) -> None:
    job = prepare(*MLP[: 2 * ("model=lenet5" not in overrides)], "trainer.max_epochs=2", *overrides)
    result, rows, _ = worked(job, 8)
    expected, figures = lightnings(job)
    assert result["weights_sha256"] == expected
    agree(rows, figures)


def test_a_net_that_draws_has_the_same_bits_too(prepare, worked) -> None:
    small = ("model=keras_cnn", "data.batch_size=16", "trainer.max_steps=8", "data.size=16")
    job = prepare(*small, "augment=none", "model.dropout=0.5")
    result, _, probe = worked(job, 8)
    assert any(isinstance(layer, torch.nn.Dropout) for layer in start.net(job, new=True))
    assert result["weights_sha256"] == lightnings(job)[0]
    assert probe.lengths == [1, 1, 8]  # and six steps of the last list


def test_a_deep_net_is_trained_to_the_same_bits_too(prepare, worked) -> None:
    small = ("model=resnet20", "data.size=16", "trainer.max_steps=6")
    job = prepare(*small, "optimizer=sgd", "data.batch_size=16", "hardware.precision=bf16-mixed")
    first, second = worked(job, 1), worked(job, 4)
    assert told(first[0]) == told(second[0])
    assert first[0]["weights_sha256"] == lightnings(job)[0]
    assert second[2].lengths == [1, 1, 4]
