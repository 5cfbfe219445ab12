from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
import zoo
from torch import nn

from cnnctl import nets, runs
from cnnctl.config import learning, paths
from cnnctl.config import library as sections
from cnnctl.config.read import read
from cnnctl.nets import meta
from cnnctl.nets.blocks import Layers
from cnnctl.nets.net import Net
from cnnctl.training import groups, optimizers

LR = 0.1


def rule(name: str = "sgd", **changes: Any) -> learning.Optimizer:
    numbers = runs.read_config(paths.conf_dir() / "optimizer" / f"{name}.yaml")
    found, problems = read(learning.OPTIMIZERS[name], numbers | changes, "optimizer")
    assert problems == []
    assert found is not None
    return found


def named(net: nn.Module, made: list[dict[str, Any]], key: str) -> dict[str, float]:
    """A number of the group of each parameter, by the parameter's name."""
    names = {id(value): name for name, value in net.named_parameters()}
    return {names[id(value)]: group[key] for group in made for value in group["params"]}


def library(name: str) -> Net:
    spec, problems = nets.read_spec(sections.section(name))
    assert problems == []
    assert spec is not None
    with meta.device():
        return nets.build(spec, num_classes=5, shape=(3, 224, 224))


class Odd(Net):
    """Parameters of every kind, one of them in no layer, one of them twice."""

    def __init__(self) -> None:
        first, second = nn.Linear(3, 3), nn.Linear(3, 3)
        second.weight = first.weight
        layers: Layers = OrderedDict(
            first=first, second=second, norm=nn.LayerNorm([3, 4]), act=nn.PReLU(3),
            narrow=nn.Conv2d(3, 1, 1), single=nn.Linear(1, 4), rms=nn.RMSNorm(4),
            group=nn.GroupNorm(2, 4), instance=nn.InstanceNorm2d(4, affine=True),
            last=nn.Linear(4, 2),
        )  # fmt: skip
        super().__init__(layers, "torch")
        self.table = nn.Parameter(torch.zeros(2, 2))
        self.scale = nn.Parameter(torch.ones(4, 1, 1))


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998", "resnet18", "googlenet_tv"])
@pytest.mark.parametrize("kind", learning.OPTIMIZERS)
def test_a_net_with_the_usual_keys_is_one_group_in_the_old_order(name, kind) -> None:
    net = zoo.on_meta(name)
    (group,) = groups.build(net, rule(kind), LR)
    assert all(a is b for a, b in zip(group["params"], net.parameters(), strict=True))
    assert (group["lr"], group["weight_decay"]) == (LR, rule(kind).weight_decay)


@pytest.mark.parametrize("kind", learning.OPTIMIZERS)
def test_one_group_trains_to_the_bits_of_none(kind) -> None:
    found = []
    for grouped in (True, False):
        torch.manual_seed(0)
        net = zoo.build("lenet5")
        chosen = rule(kind)
        given = groups.build(net, chosen, LR) if grouped else net.parameters()
        optimizer = optimizers.build(chosen, given, LR, fused=True)
        for _ in range(2):
            optimizer.zero_grad()
            net(torch.ones(2, 1, 32, 32)).square().sum().backward()
            optimizer.step()
        found.append([value.detach().clone() for value in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", ["vgg11_bn", "densenet121", "efficientnet_b0", "xception"])
def test_without_decay_of_norms_only_weights_of_products_decay(name) -> None:
    net = zoo.on_meta(name)
    made = groups.build(net, rule(decay_norms=False), LR)
    decays = named(net, made, "weight_decay")
    for place, module in net.named_modules():
        for own, _ in module.named_parameters(recurse=False):
            weight = isinstance(module, (nn.Linear, nn.Conv2d)) and own == "weight"
            assert decays[f"{place}.{own}"] == (rule().weight_decay if weight else 0)
    assert len(made) == 2
    assert len({group["name"] for group in made}) == 2


def test_what_is_one_number_per_channel_does_not_decay_either() -> None:
    net = Odd()
    decays = named(net, groups.build(net, rule(decay_norms=False), LR), "weight_decay")
    kept = {name for name, decay in decays.items() if decay}
    assert kept == {"table", "first.weight", "narrow.weight", "single.weight", "last.weight"}
    subsampling = zoo.on_meta("lenet5_1998")
    decays = named(subsampling, groups.build(subsampling, rule(decay_norms=False), LR),
                   "weight_decay")  # fmt: skip
    assert decays["s2.coefficient"] == decays["s2.bias"] == 0
    assert decays["c1.weight"] > 0


def test_a_tied_parameter_is_in_one_group_once() -> None:
    net = Odd()
    choices: list[dict[str, Any]] = [{}, {"decay_norms": False}, {"layer_decay": 0.5}]
    for changes in choices:
        made = groups.build(net, rule(**changes), LR)
        given = [id(value) for group in made for value in group["params"]]
        assert len(given) == len(set(given)) == len(list(net.parameters()))
        optimizers.build(rule(**changes), made, LR, fused=False)  # which refuses doubles


def test_no_decay_at_all_needs_no_second_group() -> None:
    net = zoo.on_meta("vgg11_bn")
    assert len(groups.build(net, rule(weight_decay=0, decay_norms=False), LR)) == 1


def test_layers_learn_slower_the_nearer_they_are_to_the_images() -> None:
    net = zoo.on_meta("lenet5")
    rates = named(net, groups.build(net, rule(layer_decay=0.5), LR), "lr")
    layers = ["output", "f6", "c5", "c3", "c1"]
    assert {name.partition(".")[0] for name in rates} == set(layers)
    for depth, layer in enumerate(layers):
        assert rates[f"{layer}.weight"] == rates[f"{layer}.bias"] == LR * 0.5**depth


def test_a_normalisation_is_no_layer_of_its_own() -> None:
    plain, norms = zoo.on_meta("vgg11"), zoo.on_meta("vgg11_bn")
    rates = [named(net, groups.build(net, rule(layer_decay=0.75), LR), "lr")
             for net in (plain, norms)]  # fmt: skip
    assert rates[0]["conv1_1.weight"] == rates[1]["conv1_1.weight"] == LR * 0.75**10
    assert rates[1]["conv1_1_norm.weight"] == rates[1]["conv1_1.weight"]
    last = zoo.on_meta("densenet121")
    found = named(last, groups.build(last, rule(layer_decay=0.75), LR), "lr")
    assert found["norm5.weight"] == found["dense4_16.new.grow.weight"] == LR * 0.75


def test_an_auxiliary_classifier_learns_as_the_last_layer() -> None:
    with_taps, without = zoo.on_meta("googlenet", aux=0.3), zoo.on_meta("googlenet")
    rates = [named(net, groups.build(net, rule(layer_decay=0.5), LR), "lr")
             for net in (with_taps, without)]  # fmt: skip
    taps = {name: rate for name, rate in rates[0].items() if name.startswith("aux")}
    assert set(taps.values()) == {LR}
    assert {name: rate for name, rate in rates[0].items() if name not in taps} == rates[1]


def test_a_net_of_a_library_is_opened() -> None:
    net = library("torchvision/resnet18")
    rates = named(net, groups.build(net, rule(layer_decay=0.5), LR), "lr")
    ours = zoo.on_meta("resnet18")
    expected = set(named(ours, groups.build(ours, rule(layer_decay=0.5), LR), "lr").values())
    assert set(rates.values()) == expected
    assert rates["net.fc.weight"] == LR
    assert rates["net.bn1.weight"] == rates["net.conv1.weight"] == min(expected)


def test_what_is_in_no_layer_belongs_to_the_first() -> None:
    net = library("torchvision/vit_b_16")
    rates = named(net, groups.build(net, rule(layer_decay=0.5), LR), "lr")
    assert rates["net.class_token"] == min(rates.values())


def test_shares_multiply_and_equal_numbers_are_one_group() -> None:
    net = zoo.on_meta("lenet5")

    def share(name: str) -> float:
        return 1.0 if name.startswith("output") else 0.5

    made = groups.build(net, rule(layer_decay=0.5), LR, share)
    rates = named(net, made, "lr")
    assert rates["output.weight"] == LR
    assert rates["f6.weight"] == LR / 4
    assert rates["c1.weight"] == LR / 32
    made = groups.build(net, rule(), LR, share)
    assert [group["lr"] for group in made] == [LR / 2, LR]
    assert [len(group["params"]) for group in made] == [8, 2]


def test_frozen_parameters_change_no_group() -> None:
    net = zoo.on_meta("resnet18")
    chosen = rule(decay_norms=False, layer_decay=0.5)
    before = [[id(value) for value in group["params"]] for group in groups.build(net, chosen, LR)]
    for value in list(net.parameters())[:20]:
        value.requires_grad = False
    after = [[id(value) for value in group["params"]] for group in groups.build(net, chosen, LR)]
    assert before == after


def test_groups_and_their_names_go_through_a_file_without_code(tmp_path) -> None:
    net = zoo.build("lenet5")
    chosen = rule("adamw", decay_norms=False)
    made = [optimizers.build(chosen, groups.build(net, chosen, LR), LR, fused=True)
            for _ in range(2)]  # fmt: skip
    net(torch.ones(1, 1, 32, 32)).sum().backward()
    made[0].step()
    torch.save(made[0].state_dict(), tmp_path / "state.pt")
    made[1].load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    names = [group["name"] for group in made[1].param_groups]
    assert names == ["lr x 1, weight decay 0.01", "lr x 1, weight decay 0"]
    for a, b in zip(made[0].state.values(), made[1].state.values(), strict=True):
        assert torch.equal(a["exp_avg"], b["exp_avg"])
