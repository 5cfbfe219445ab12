"""What pixels count in training on masks, and who is told of it."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from shaped import PLAIN, SGD, STEPS, TINY, close, last, rows, whole

from cnnctl import nets
from cnnctl.config.masks import IGNORE
from cnnctl.data.order import Order
from cnnctl.data.pair_reading import PairReader
from cnnctl.errors import ConfigError
from cnnctl.training import loggers, start, trainer


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some pixels of every mask are unknown, of some masks all."""
    batches = PairReader.batches

    def spotted(self: PairReader, ticket: Any) -> Any:
        for pixels in batches(self, ticket):
            pixels.labels[:, :, ::3, ::2] = IGNORE
            pixels.labels[torch.from_numpy(ticket.samples % 3 == 0)] = IGNORE
            yield pixels

    monkeypatch.setattr(PairReader, "batches", spotted)


@pytest.mark.parametrize("more", [(), ("data.balance=loss",)])
@pytest.mark.usefixtures("unknown")
def test_a_batch_in_pieces_has_the_gradient_of_the_batch(train, monkeypatch, more) -> None:
    """As it is made once the memory is used up; pieces count by the pixels that are known."""
    plain = train(*PLAIN, *SGD, STEPS, *more)
    made = start.task

    def cut(*given: Any, **how: Any) -> Any:
        task = made(*given, **how)
        task.gradient.pieces = 4
        return task

    monkeypatch.setattr(start, "task", cut)
    pieces = train(*PLAIN, *SGD, STEPS, "on_oom=split", *more)
    close(last(pieces), last(plain))
    for name in ("val", "test"):
        assert pieces.result[name] == pytest.approx(plain.result[name], rel=1e-3)


@pytest.mark.usefixtures("unknown")
def test_a_batch_of_which_nothing_is_known_changes_nothing(train, monkeypatch) -> None:
    words = (*PLAIN, "optimizer=sgd", "optimizer.momentum=0", "optimizer.weight_decay=0")
    monkeypatch.setattr(Order, "of", lambda *_: torch.arange(0, 24, 3).numpy())
    for more in ((), ("data.balance=loss",), ("on_oom=split",)):
        done = train(*words, "trainer.max_steps=1", "data.batch_size=8", *more)
        torch.manual_seed(0)
        fresh = nets.build(done.job.spec, num_classes=4, shape=done.job.plan.shape).state_dict()
        assert all(torch.equal(value, fresh[name]) for name, value in last(done).items())


def test_what_is_rare_counts_more_by_its_pixels(prepare, train) -> None:
    job = prepare(*TINY, "data.balance=loss")
    _, masks = whole(job.source, "train")
    counts = torch.tensor([(masks == one).sum() for one in range(4)])
    expected = counts.sum() / (4 * counts)
    found = start.net(job, new=True).class_weights
    assert found is not None
    torch.testing.assert_close(found / found[0], expected / expected[0])
    even, plain = (train(*PLAIN, STEPS, *more) for more in (["data.balance=loss"], []))
    assert even.result["weights_sha256"] != plain.result["weights_sha256"]


def test_weights_of_classes_are_as_many_as_there_are(prepare) -> None:
    words = (*TINY, "loss=cross_entropy")
    net = start.net(prepare(*words, "loss.weights=[1,2,3,0]"), new=True)
    assert net.class_weights is not None
    assert net.class_weights.tolist() == [1, 2, 3, 0]
    with pytest.raises(ConfigError) as wrong:
        prepare(*words, "loss.weights=[1,2,3]")
    text = "loss.weights must have one number for each of 4 classes, got 3"
    assert str(wrong.value) == f"{text} (background, disc, square, triangle)"


def test_a_plateau_is_one_of_val_miou(train, monkeypatch) -> None:
    """The rate is cut after the epoch whose mean IoU is no better, however the loss falls."""
    figures = iter([0.5, 0.4, 0.6, 0.6])
    settle = start.Segment._settle

    def settled(self: Any, split: str) -> None:
        settle(self, split)
        if split == "val":
            self.figures["val"] |= {"miou": next(figures), "pixel_accuracy": 0.0}

    monkeypatch.setattr(start.Segment, "_settle", settled)
    done = train(
        *TINY, "optimizer=sgd", "optimizer.lr=1e-3", "schedule=plateau", "schedule.patience=0",
        "trainer.max_epochs=4",
    )  # fmt: skip
    rates = [row["lr"] for row in rows(done.folder)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    assert done.result["best"]["epoch"] in (3, 4)
    assert done.result["val"]["miou"] == 0.6


class Recording(Logger):
    """What any logger is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[dict[str, float]] = []

    name, version = "recording", "1"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert metrics["step"] == step
        self.told.append(metrics)

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...


def test_every_logger_is_told_the_figures_of_masks(prepare, tmp_path, monkeypatch) -> None:
    recording, build = Recording(), loggers.build
    monkeypatch.setattr(loggers, "build", lambda *given: [*build(*given), recording])
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    seen: list[pl.Callback] = []
    trainer.fit(prepare(*TINY, "trainer.max_epochs=2"), folder, seen)
    assert [record["epoch"] for record in recording.told] == [1, 2]
    for record, row in zip(recording.told, rows(folder), strict=True):
        assert record == pytest.approx(row, rel=1e-4)
        for split in ("train", "val"):
            for name in ("loss", "miou", "dice", "pixel_accuracy"):
                assert f"{split}/{name}" in record
