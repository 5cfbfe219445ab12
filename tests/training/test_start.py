"""The net, the task and the update rule that a run starts with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from cnnctl import nets, weights
from cnnctl.data import balance
from cnnctl.data.module import DataModule
from cnnctl.nets.net import Net
from cnnctl.tasks.classify import Classify
from cnnctl.training import optimizers, start
from cnnctl.training.start import Job

TINY = ("model=mlp", "model.hidden=[8]", "data.size=8")


def groups(job: Job, net: Net | None = None) -> list[dict[str, Any]]:
    """Those of the optimizer, as torch keeps them."""
    made: Any = start.configure(job)(net or start.net(job, new=True))
    ([optimizer], _) = made
    return optimizer.param_groups


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Classify]:
    """The task of a job: task(job, notice=print)."""

    def make(job: Job, notice: Callable[[str], None] = print) -> Classify:
        return start.task(job, tmp_path, DataModule(job.source, job.train), notice, new=True)

    return make


@pytest.mark.parametrize(
    ("layout", "device", "turned"),
    [
        ("true", {}, False),
        ("true", {"accelerator": "gpu"}, True),
        ("true", {"devices": 2}, True),
        ("false", {"accelerator": "gpu"}, False),
        ("false", {"devices": 2}, False),
    ],
)
def test_weights_lie_as_their_gradients_will(prepare, layout, device, turned) -> None:
    job = prepare(f"trainer.channels_last={layout}")
    plan = replace(job.plan, device=replace(job.plan.device, **device))
    net = start.net(job._replace(plan=plan), new=True)
    kinds = [torch.channels_last if turned else torch.contiguous_format]
    for weight in (value for value in net.parameters() if value.ndim == 4 and value.shape[1] > 1):
        layouts = (torch.channels_last, torch.contiguous_format)
        found = [kind for kind in layouts if weight.is_contiguous(memory_format=kind)]
        assert found == kinds or weight.shape[2:] == (1, 1)


def test_a_layout_changes_no_weight_of_a_fresh_net(prepare) -> None:
    job = prepare()
    plan = replace(job.plan, device=replace(job.plan.device, devices=2))
    found = []
    for one in (job, job._replace(plan=plan)):
        torch.manual_seed(0)
        found.append(weights.sha256(start.net(one, new=True).state_dict()))
    assert found[0] == found[1]


def test_a_net_learns_as_the_configuration_says(prepare) -> None:
    plain = start.net(prepare(*TINY), new=True)
    assert (plain.label_smoothing, plain.class_weights) == (0, None)
    job = prepare(*TINY, "trainer.label_smoothing=0.1", "data.balance=loss")
    net = start.net(job, new=True)
    assert net.label_smoothing == 0.1
    counts = balance.weights(job.source.splits["train"].labels, 10)
    assert net.class_weights is not None
    torch.testing.assert_close(
        net.class_weights.double(), torch.from_numpy(counts), rtol=1e-7, atol=0
    )
    assert "class_weights" not in net.state_dict()


def test_sixty_four_bits_are_there_before_a_checkpoint_is_read(prepare) -> None:
    words = ("hardware.precision=64-true", "data.balance=loss")
    net = start.net(prepare(*TINY, *words), new=False)
    assert {value.dtype for value in (*net.parameters(), *net.buffers())} == {torch.float64}


def test_a_net_is_compiled_if_that_is_wanted(prepare, monkeypatch) -> None:
    done: list[nn.Module] = []

    def noted(net: nn.Module) -> None:
        done.append(net)

    monkeypatch.setattr(nn.Module, "compile", noted)
    start.net(prepare(*TINY), new=True)
    assert done == []
    net = start.net(prepare(*TINY, "trainer.compile=true"), new=True)
    assert done == [net]


def test_weights_from_elsewhere_are_those_of_a_new_run_only(prepare, train) -> None:
    done = train(*TINY, "trainer.max_steps=2")
    job = prepare(*TINY, f"pretrained={done.folder}/checkpoints/best.ckpt")
    saved = weights.read(done.folder / "checkpoints/best.ckpt").weights
    for new in (True, False):
        found = start.net(job, new=new).state_dict()
        assert all(torch.equal(found[name], saved[name]) for name in saved) is new


@pytest.mark.parametrize("augment", ["none", "shift_rotate"])
def test_what_follows_from_images_is_taken_from_unchanged_ones(prepare, augment) -> None:
    job = prepare("model=cifar_fast", "model.widths=[4]", f"augment={augment}", "data.size=16")
    assert job.plan.shape == (1, 16, 16)
    stored = job.source.splits["train"]
    images = start.sample(job, 5)
    chosen = stored.batch(torch.tensor([0, 314, 629, 943, 1258]).numpy())
    torch.testing.assert_close(images, (chosen.float() / 255 - 0.3057) / 0.3241)
    assert len(start.sample(job, 5000)) == 1259
    wanted: Any = nets.build(job.spec, num_classes=10, shape=job.plan.shape)
    fresh = wanted.whiten.weight.clone()
    wanted.prepare(start.sample(job, 5000))
    made: Any = start.net(job, new=True)
    resumed: Any = start.net(job, new=False)
    assert torch.equal(made.whiten.weight, wanted.whiten.weight)
    assert torch.equal(resumed.whiten.weight, fresh)
    assert not torch.equal(fresh, wanted.whiten.weight)


def test_a_task_is_told_what_to_do_when_something_goes_wrong(prepare, task) -> None:
    usual = task(prepare(*TINY))
    assert (usual.clip, usual.rollback, usual.gradient.split, usual.mirror) == (
        None, False, False, False,
    )  # fmt: skip
    told: list[str] = []
    words = ("trainer.clip=2", "on_nan=rollback", "on_oom=split", "trainer.test_flip=true")
    made = task(prepare(*TINY, *words), told.append)
    assert (made.clip, made.rollback, made.gradient.split, made.mirror) == (2, True, True, True)
    made.notice("one")
    made.gradient.notice("two")
    assert told == ["one", "two"]


def test_a_task_can_read_a_batch_again(prepare, task) -> None:
    job = prepare(*TINY)
    module = DataModule(job.source, job.train)
    (pixels,) = next(iter(module.train_dataloader()))
    (batch,) = module.on_after_batch_transfer([pixels], 0)
    again = task(job).gradient.again(batch.ticket)
    assert torch.equal(again.images, batch.images)
    assert torch.equal(again.labels, batch.labels)


@pytest.mark.parametrize(
    ("strategy", "together", "looks"),
    [("auto", False, True), ("ddp", False, True), ("fsdp", False, False), ("ddp", True, False)],
)
def test_where_layers_wait_for_other_processes_nothing_is_looked_for(
    prepare, task, strategy, together, looks
) -> None:
    job = prepare(*TINY)
    plan = replace(job.plan, device=replace(job.plan.device, strategy=strategy))
    hardware = replace(job.train.hardware, sync_batchnorm=together)
    made = task(job._replace(plan=plan, train=replace(job.train, hardware=hardware)))
    trainer: Any = SimpleNamespace(global_step=0, global_rank=0, world_size=1)
    made._trainer = trainer
    error, helps = made.explain(first(job))
    unexplained = "the loss or its gradient is not finite"
    assert (error.message == unexplained) is not looks
    assert helps
    assert (Path("nonfinite.json").exists()) is looks


def first(job: Job) -> list[Any]:
    """The tickets of the first step."""
    (pixels,) = next(iter(DataModule(job.source, job.train).train_dataloader()))
    return [pixels.ticket]


def test_parameters_learn_at_rates_of_their_own(prepare) -> None:
    (one,) = groups(prepare(*TINY, "optimizer.lr=0.5"))
    assert (one["lr"], len(one["params"])) == (0.5, 4)
    job = prepare(*TINY, "optimizer.lr=0.5", "optimizer.layer_decay=0.1")
    assert [group["lr"] for group in groups(job)] == [pytest.approx(0.05), 0.5]
    job = prepare(*TINY, "optimizer=sgd", "optimizer.decay_norms=false")
    assert [group["weight_decay"] for group in groups(job)] == [0.0001, 0]


def test_a_regime_has_its_rates_and_its_frozen_layers(prepare, train) -> None:
    done = train(*TINY, "trainer.max_steps=2")
    words = (
        *TINY,
        f"pretrained={done.folder}/checkpoints/best.ckpt",
        "optimizer.lr=0.5",
        "optimizer.layer_decay=0.5",
    )
    job = prepare(*words, "transfer=finetune_all")
    assert [group["lr"] for group in groups(job)] == [pytest.approx(0.5 * 0.1 * 0.5), 0.5]
    net = start.net(prepare(*words, "transfer=feature_extract"), new=True)
    learn = {name for name, value in net.named_parameters() if value.requires_grad}
    assert learn == {"output.weight", "output.bias"}


def test_the_update_rule_is_the_one_that_the_plan_reckons_with(prepare, monkeypatch) -> None:
    fused: list[bool] = []
    build = optimizers.build

    def noting(*args: Any, **how: Any) -> Any:
        fused.append(how["fused"])
        return build(*args, **how)

    monkeypatch.setattr(optimizers, "build", noting)
    for how, wanted in (("fused", True), ("foreach", False)):
        monkeypatch.setattr(start.update, "loop", lambda *_, how=how, **__: how)
        groups(prepare(*TINY))
        assert fused.pop() is wanted
