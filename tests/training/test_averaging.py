from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from averages import (
    BATCHES,
    EPOCHS,
    Place,
    Save,
    Task,
    ema,
    mean_of,
    net_of,
    repeated,
    same,
    state,
    swa,
    tensors,
    trained,
)

from cnnctl.config.duration import Duration
from cnnctl.training import averaging
from cnnctl.training.averaging import Ema, Swa


def test_nothing_is_built_unless_it_is_wanted() -> None:
    plan: Any = SimpleNamespace(steps_per_epoch=10, steps=40)

    def built(**given: Any) -> list[pl.Callback]:
        trainer: Any = SimpleNamespace(**({"ema": None, "swa": None} | given))
        return averaging.build(trainer, plan, repeated)

    assert built() == []
    (one,) = built(ema=0.9)
    assert isinstance(one, Ema)
    (one,) = built(swa=Duration(75, "%"))
    assert isinstance(one, Swa)
    assert one.begin == 30


def test_a_running_mean_follows_every_step_from_the_first(tmp_path) -> None:
    task, _ = trained(tmp_path, ema(0.75))
    wanted = task.steps[0]
    for step in task.steps[1:]:
        wanted = [0.75 * mean + 0.25 * value for mean, value in zip(wanted, step, strict=True)]
    found = net_of(state(tmp_path / f"{EPOCHS - 1}.ckpt"))
    for mean, value in zip(wanted, found[: len(wanted)], strict=True):
        torch.testing.assert_close(mean, value)


def test_statistics_follow_with_the_weights_and_an_index_stays(tmp_path) -> None:
    trained(tmp_path, ema(0.999))
    saved = state(tmp_path / "3.ckpt")
    mean, last = saved["state_dict"], saved["current_model_state"]
    assert torch.equal(mean["net.3.order"], Place().order)
    assert torch.equal(mean["net.1.num_batches_tracked"], last["net.1.num_batches_tracked"])
    assert not torch.equal(mean["net.1.running_var"], last["net.1.running_var"])
    assert mean["net.1.running_var"].std() > 0


def test_an_equal_mean_takes_the_weights_after_each_epoch(tmp_path) -> None:
    task, _ = trained(tmp_path, swa())
    ends = task.steps[BATCHES - 1 :: BATCHES]
    for epoch in range(EPOCHS):
        wanted = ends[epoch] if epoch == 0 else mean_of(ends[1 : epoch + 1])
        found = net_of(state(tmp_path / f"{epoch}.ckpt"))
        for mean, value in zip(wanted, found[: len(wanted)], strict=True):
            torch.testing.assert_close(mean, value)


@pytest.mark.parametrize("begin", [BATCHES + 1, 2 * BATCHES])
def test_the_first_epoch_to_count_is_the_one_that_ends_there_or_later(tmp_path, begin) -> None:
    trained(tmp_path, swa(begin))
    taken = [state(tmp_path / f"{epoch}.ckpt").get("averaging_state") for epoch in range(EPOCHS)]
    assert taken[0] is None
    assert [int(one["n_averaged"]) for one in taken[1:] if one] == [1, 2, 3]


def test_an_epoch_that_max_steps_cuts_short_counts(tmp_path) -> None:
    _, trainer = trained(tmp_path, swa(BATCHES), max_epochs=-1, max_steps=2 * BATCHES - 1)
    found = state(tmp_path / "0.ckpt")
    assert int(found["averaging_state"]["n_averaged"]) == 1
    assert trainer.global_step == 2 * BATCHES - 1


def test_statistics_of_the_mean_are_those_of_the_images_of_the_epoch(tmp_path) -> None:
    trained(tmp_path, swa())
    saved = state(tmp_path / "3.ckpt")
    net = Task().net
    net.load_state_dict({name.removeprefix("net."): value
                         for name, value in saved["state_dict"].items()})  # fmt: skip
    seen = [net[0](images) for ((images, _, _),) in repeated(3)]
    mean, var = saved["state_dict"]["net.1.running_mean"], saved["state_dict"]["net.1.running_var"]
    torch.testing.assert_close(mean, torch.stack([value.mean(0) for value in seen]).mean(0))
    torch.testing.assert_close(var, torch.stack([value.var(0) for value in seen]).mean(0))


@pytest.mark.parametrize("make", [ema, swa])
def test_what_is_measured_is_what_is_saved(tmp_path, make) -> None:
    task, _ = trained(tmp_path, make())
    for epoch in range(EPOCHS):
        assert same(task.measured[epoch], net_of(state(tmp_path / f"{epoch}.ckpt")))


@pytest.mark.parametrize("make", [ema, swa])
def test_the_weights_learn_as_if_there_were_no_mean(tmp_path, make) -> None:
    plain, _ = trained(tmp_path)
    task, _ = trained(tmp_path, make())
    for ours, theirs in zip(task.steps, plain.steps, strict=True):
        assert same(ours, theirs)
    assert same(tensors(task.net), net_of(state(tmp_path / "3.ckpt"), "current_model_state"))


@pytest.mark.parametrize("make", [ema, swa])
@pytest.mark.parametrize("epoch", range(EPOCHS - 1))
def test_a_run_that_goes_on_after_an_epoch_ends_with_the_same_bits(tmp_path, make, epoch) -> None:
    whole, _ = trained(tmp_path, make())
    first = state(tmp_path / "3.ckpt")
    rest, _ = trained(tmp_path, make(), path=tmp_path / f"{epoch}.ckpt")
    second = state(tmp_path / "3.ckpt")
    assert same(tensors(whole.net), tensors(rest.net))
    for entry in ("state_dict", "current_model_state"):
        assert same(net_of(first, entry), net_of(second, entry))
    assert int(first["averaging_state"]["n_averaged"]) == int(
        second["averaging_state"]["n_averaged"]
    )


@pytest.mark.parametrize("make", [ema, swa])
@pytest.mark.parametrize("step", range(1, EPOCHS * BATCHES, 2))
def test_the_state_after_any_step_is_complete(tmp_path, make, step) -> None:
    """Read back, it saves to the same repeated: what a run goes on with is all there."""
    trained(tmp_path, make(), Save(tmp_path, step))
    saved = state(tmp_path / "within.ckpt")
    task, callback = Task(), make()
    trainer: Any = SimpleNamespace()
    callback.setup(trainer, task, "fit")
    task.load_state_dict(saved["state_dict"])
    callback.on_load_checkpoint(trainer, task, saved)
    (kept,) = [value for key, value in saved["callbacks"].items() if type(callback).__name__ in key]
    callback.load_state_dict(kept)
    written: dict[str, Any] = {"state_dict": task.state_dict()}
    callback.on_save_checkpoint(trainer, task, written)
    assert callback.state_dict() == kept
    for entry in ("state_dict", "current_model_state", "averaging_state"):
        assert (entry in written) == (entry in saved)
        for name, value in written.get(entry, {}).items():
            assert torch.equal(value, saved[entry][name])


def test_a_run_that_ends_before_the_mean_begins_keeps_its_weights(tmp_path) -> None:
    task, _ = trained(tmp_path, swa(), max_epochs=1)
    assert same(tensors(task.net)[:6], task.steps[-1])
    assert "averaging_state" not in state(tmp_path / "0.ckpt")


def test_frozen_norms_keep_their_statistics(tmp_path) -> None:
    trained(tmp_path, swa())
    net, trainer = Task().net.eval(), pl.Trainer(accelerator="cpu", logger=False)
    norm: Any = net[1]
    before = norm.running_mean.clone()
    norm.requires_grad_(requires_grad=False)
    averaging.refresh(net, repeated(0), trainer)
    assert torch.equal(norm.running_mean, before)
    norm.requires_grad_(requires_grad=True)
    averaging.refresh(net, repeated(0), trainer)
    assert not torch.equal(norm.running_mean, before)
    assert (norm.momentum, norm.training, net.training) == (0.1, False, False)


def test_new_statistics_need_no_random_draw_and_no_gradient(tmp_path) -> None:
    net, trainer = Task().net.eval(), pl.Trainer(accelerator="cpu", logger=False)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    averaging.refresh(net, repeated(0), trainer)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(value.grad is None for value in net.parameters())
    first = tensors(net)
    averaging.refresh(net, repeated(0), trainer)
    assert same(first, tensors(net))


def test_only_the_net_is_copied(tmp_path) -> None:
    """A task may hold what cannot be copied, as Task's generator."""
    callback = ema()
    trained(tmp_path, callback)
    assert set(callback.mean.module.state_dict()) == set(Task().state_dict())
