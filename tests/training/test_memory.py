from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

from cnnctl import nets
from cnnctl.data.module import DataModule
from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.tasks.classify import Classify
from cnnctl.training import engine, pace, start
from cnnctl.training.memory import MemoryCheck
from cnnctl.training.noise import quiet

TINY = ("augment=none", "trainer.max_steps=2")


def following() -> bool:
    """Whether torch tells a profiler of its allocations at present."""
    return torch.autograd._profiler_enabled()


@pytest.mark.parametrize(
    ("overrides", "most"),
    [
        (("model=resnet20",), 0.02),
        (("trainer.accumulate=2", "data.batch_size=16"), 0.02),
        (("model=resnet20", "data.batch_size=16", "hardware.precision=bf16-mixed"), 0.02),
        (("model=mobilenet_v2", "data.size=64", "data.batch_size=4"), 0.001),
        (("model=mlp", "optimizer=rmsprop", "optimizer.momentum=0.9"), 0.001),
    ],
)
@pytest.mark.parametrize("layout", ["true", "false"])
def test_the_prediction_is_that_near_to_what_is_measured(prepare, overrides, most, layout) -> None:
    job = prepare(*TINY, *overrides, f"trainer.channels_last={layout}")
    check, several = MemoryCheck(), pace.fits(job.train, job.plan)
    net = nets.build(job.spec, num_classes=10, shape=job.plan.shape)
    task = Classify(net, 10, start.configure(job))
    data = DataModule(job.source, job.train, chunked=several)
    with quiet():
        engine.build(
            job.plan.device,
            max_steps=2, callbacks=[check], logger=False, limit_val_batches=0,
        ).fit(task, data)  # fmt: skip
    memory = check.beside(job.plan.memory)
    assert memory["predicted"] == job.plan.memory["peak"]
    assert memory["error"] == memory["predicted"] / memory["measured"] - 1
    assert abs(memory["error"]) < most


class Probe(pl.Callback):
    """Notes at each batch whether anything is followed, and whether garbage is collected."""

    def __init__(self) -> None:
        self.inside: list[bool] = []
        self.collects: list[bool] = []

    def on_before_backward(self, *_: Any) -> None:
        self.inside.append(following())
        self.collects.append(gc.isenabled())


class Line(pl.LightningModule):
    """One dense layer on its own data, with plain SGD."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.net = nn.Linear(1000, 10)
        self.fails = fails

    def training_step(self, batches: list[Batch]) -> Tensor:
        if self.fails:
            raise RuntimeError("no luck")
        (batch,) = batches
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def collated(rows: list[tuple[Tensor, ...]]) -> list[Batch]:
    images, labels = default_collate(rows)
    return [Batch(images, labels, Ticket(np.arange(len(images)), 0))]


def fit(module: pl.LightningModule, *callbacks: pl.Callback, images: int = 80, **options) -> None:
    data = TensorDataset(torch.zeros(images, 1000), torch.zeros(images, dtype=torch.int64))
    made = {"max_epochs": 1, "logger": False, "enable_checkpointing": False} | options
    bare = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    loader = DataLoader(data, 16, collate_fn=collated)
    with quiet():
        pl.Trainer(callbacks=list(callbacks), **made, **bare).fit(module, loader)


def test_what_is_measured_is_what_a_dense_layer_takes_by_hand() -> None:
    check = MemoryCheck()
    fit(Line(), check)
    weights, batch = 4 * 10_010, 16 * (4 * 1000 + 8)
    logits = 16 * 10 * 4  # beside their logarithms, while the gradients of the last step stand
    assert check.peak is not None
    assert 2 * weights + batch + logits <= check.peak <= 2 * weights + batch + 4 * logits


@pytest.mark.parametrize("collects", [True, False])
def test_the_first_two_steps_are_followed_and_no_others(collects) -> None:
    probe = Probe()
    (gc.enable if collects else gc.disable)()
    try:
        fit(Line(), MemoryCheck(), probe)
        assert gc.isenabled() == collects
    finally:
        gc.enable()
    assert probe.inside == [True, True, False, False, False]
    assert probe.collects == [False, False, collects, collects, collects]
    assert not following()


def test_all_batches_of_the_first_two_steps_are_followed() -> None:
    probe, check = Probe(), MemoryCheck()
    fit(Line(), check, probe, accumulate_grad_batches=2)
    assert probe.inside == [True] * 4 + [False]
    assert check.peak is not None


def test_accumulated_gradients_and_the_largest_batch_count() -> None:
    plain, several = MemoryCheck(), MemoryCheck()
    fit(Line(), plain)
    fit(Line(), several, accumulate_grad_batches=2)
    more = several.peak - plain.peak  # gradients of the batch before, beside the new ones
    assert more == pytest.approx(4 * 10_000, rel=0.03)
    rest = MemoryCheck()
    fit(Line(), rest, images=20, max_epochs=2, accumulate_grad_batches=2)
    assert rest.peak == pytest.approx(plain.peak, abs=16)  # the batch of 16 images, not that of 4


def test_a_second_step_on_the_rest_of_an_epoch_is_not_measured() -> None:
    rest, whole = MemoryCheck(), MemoryCheck()
    fit(Line(), rest, images=20, max_epochs=3)
    assert rest.peak is None
    fit(Line(), whole, images=32, max_epochs=3)
    assert whole.peak is not None


def test_the_second_step_may_be_in_the_second_epoch() -> None:
    one, two = MemoryCheck(), MemoryCheck()
    fit(Line(), one, images=16, max_epochs=3)
    fit(Line(), two, images=48)
    assert one.peak == two.peak


def test_what_an_earlier_run_leaves_does_not_change_the_figure() -> None:
    peaks = []
    for _ in range(3):
        check = MemoryCheck()
        fit(Line(), check)
        peaks.append(check.peak)
    assert len(set(peaks)) == 1


def test_an_exception_in_the_first_step_leaves_no_profiler_running() -> None:
    check = MemoryCheck()
    with pytest.raises(RuntimeError, match="no luck"):
        fit(Line(fails=True), check)
    assert not following()
    assert gc.isenabled()
    assert check.peak is None
    again = MemoryCheck()
    fit(Line(), again)
    assert again.peak is not None


def test_an_exception_in_a_later_step_is_no_matter() -> None:
    class Late(Line):
        def on_train_batch_start(self, _: Any, batch_idx: int) -> None:
            self.fails = batch_idx == 3

    check = MemoryCheck()
    with pytest.raises(RuntimeError, match="no luck"):
        fit(Late(), check)
    assert check.peak is not None
    assert not following()


def test_beside_compares_both_figures() -> None:
    check = MemoryCheck()
    assert check.beside({"peak": 100}) == {"predicted": 100, "measured": None, "error": None}
    check.peak = 80
    assert check.beside({"peak": 100}) == {"predicted": 100, "measured": 80, "error": 0.25}


def test_a_resumed_run_has_its_second_step_behind_it() -> None:
    first, second = MemoryCheck(), MemoryCheck()
    fit(Line(), first)
    second.load_state_dict(first.state_dict())
    probe = Probe()
    fit(Line(), second, probe)
    assert second.peak == first.peak
    assert not any(probe.inside)


def test_a_run_that_is_resumed_after_its_first_step_measures_nothing() -> None:
    check = MemoryCheck()
    stub: Any = SimpleNamespace(
        global_step=1, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    given = collated([(torch.zeros(9), torch.tensor(0))] * 4)
    check.on_train_batch_start(stub, Line(), given, 0)
    stub.global_step = 2
    check.on_train_batch_end(stub, Line(), None, given, 0)
    assert check.peak is None
    assert not following()
    check.on_train_batch_start(stub, Line(), [], 1)  # a complete epoch
    assert not following()
