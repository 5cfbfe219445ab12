from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn, optim

from cnnctl import runs
from cnnctl.config import learning, paths
from cnnctl.config.read import read
from cnnctl.training import optimizers

OPTIONS = {
    "sgd": {"weight_decay": 0.02, "momentum": 0.7, "nesterov": True},
    "adam": {"weight_decay": 0.02, "betas": (0.8, 0.95), "eps": 1e-5},
    "adamw": {"weight_decay": 0.03, "betas": (0.7, 0.9), "eps": 1e-4},
    "rmsprop": {
        "weight_decay": 0.02, "alpha": 0.8, "eps": 1e-5, "momentum": 0.3, "centered": True,
    },
}  # fmt: skip
CLASSES = {
    "sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop,
}  # fmt: skip


def section(name: str, **changes: Any) -> learning.Optimizer:
    numbers = runs.read_config(paths.conf_dir() / "optimizer" / f"{name}.yaml")
    given = {key: list(value) if key == "betas" else value for key, value in changes.items()}
    found, problems = read(learning.OPTIMIZERS[name], numbers | given, "optimizer")
    assert problems == []
    assert found is not None
    return found


def weight() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))


def test_every_rule_of_the_schema_can_be_built() -> None:
    assert set(optimizers.OPTIMIZERS) == set(learning.OPTIMIZERS) == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("fused", [True, False])
def test_every_option_arrives(name, fused) -> None:
    optimizer = optimizers.build(section(name, **OPTIONS[name]), [weight()], 0.123, fused=fused)
    assert type(optimizer) is CLASSES[name]
    group = optimizer.param_groups[0]
    assert group["lr"] == 0.123
    assert {key: group[key] for key in OPTIONS[name]} == OPTIONS[name]
    assert bool(group.get("fused")) == (fused and name != "rmsprop")


@pytest.mark.parametrize("name", OPTIONS)
def test_the_options_are_those_of_the_configuration_and_no_more(name) -> None:
    found = section(name)
    shared = {"name", "lr", "scaling", "reference_batch", "decay_norms", "layer_decay"}
    assert set(vars(found)) - shared == set(OPTIONS[name])
    group = optimizers.build(found, [weight()], found.lr, fused=False).param_groups[0]
    assert {key: group[key] for key in OPTIONS[name]} == {
        key: getattr(found, key) for key in OPTIONS[name]
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_three_steps_are_those_of_torch(name) -> None:
    ours, theirs = weight(), weight()
    built = optimizers.build(section(name, **OPTIONS[name]), iter([ours]), 0.1, fused=False)
    plain = CLASSES[name]([theirs], lr=0.1, **OPTIONS[name])
    for optimizer, parameter in ((built, ours), (plain, theirs)):
        for _ in range(3):
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step()
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, weight())


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("fused", [True, False])
def test_groups_have_their_own_rate_and_decay_and_share_the_rest(name, fused) -> None:
    own = [{"params": [weight()], "lr": 0.01, "weight_decay": 0.5, "name": "slow"},
           {"params": [weight()]}]  # fmt: skip
    slow, rest = optimizers.build(
        section(name, **OPTIONS[name]), own, 0.123, fused=fused
    ).param_groups
    assert (slow["lr"], slow["weight_decay"], slow["name"]) == (0.01, 0.5, "slow")
    assert (rest["lr"], rest["weight_decay"]) == (0.123, OPTIONS[name]["weight_decay"])
    others = set(OPTIONS[name]) - {"weight_decay"}
    assert {key: slow[key] for key in others} == {key: rest[key] for key in others}
    assert bool(slow.get("fused")) == bool(rest.get("fused")) == (fused and name != "rmsprop")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_group_steps_as_an_optimizer_of_its_own(name) -> None:
    ours, theirs = [weight(), weight()], [weight(), weight()]
    rates = (0.1, 0.01)
    groups = [{"params": [one], "lr": rate} for one, rate in zip(ours, rates, strict=True)]
    rule = section(name, **OPTIONS[name])
    made = [optimizers.build(rule, groups, 1.0, fused=False)]
    made += [optimizers.build(rule, [one], rate, fused=False)
             for one, rate in zip(theirs, rates, strict=True)]  # fmt: skip
    for value in (*ours, *theirs):
        value.grad = torch.ones(3)
    for optimizer in made:
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("scaling", "lr"), [("none", 0.003), ("linear", 0.003 / 4), ("sqrt", 0.003 / 2)]
)
def test_the_scaled_rate_of_the_plan_reaches_the_steps(train, scaling, lr) -> None:
    done = train("schedule=constant", f"optimizer.scaling={scaling}", "trainer.max_steps=1")
    assert done.job.plan.lr == pytest.approx(lr, rel=1e-12)
    checkpoint = torch.load(done.folder / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] == done.job.plan.lr
