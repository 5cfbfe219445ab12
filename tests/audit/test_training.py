from __future__ import annotations

from dataclasses import replace

import pytest
from audited import chain, layer, subject, told
from torch import nn

from cnnctl.audit.budget import MOMENTUM
from cnnctl.audit.document import Subject, audit
from cnnctl.audit.step import Setting


@pytest.mark.parametrize("name", ["alexnet", "densenet121", "lenet5", "neocognitron", "vgg16"])
def test_what_is_kept_is_that_of_the_layers_and_of_cross_entropy(name) -> None:
    net = told(subject(name))
    layers = sum(one["kept_bytes"] for one in net["layers"])
    loss = 4 * (2 * net["layers"][-1]["values"] + 2)  # logarithms, the sum of weights, the loss
    assert net["totals"]["conventions"]["saved"]["bytes"] == layers + loss
    assert net["memory"]["peak"] == sum(net["memory"]["at_peak"].values())


def test_auxiliary_classifiers_are_layers_of_training_alone() -> None:
    net = told(subject("googlenet", aux=0.3))
    taps = [(one["name"], one["params"], one["macs"]) for one in net["training_layers"]]
    assert taps == [
        ("aux1.conv", 512 * 128 + 128, 16 * 512 * 128),
        ("aux1.f1", 2048 * 1024 + 1024, 2048 * 1024),
        ("aux1.fc", 1024 * 1000 + 1000, 1024 * 1000),
        ("aux2.conv", 528 * 128 + 128, 16 * 528 * 128),
        ("aux2.f1", 2048 * 1024 + 1024, 2048 * 1024),
        ("aux2.fc", 1024 * 1000 + 1000, 1024 * 1000),
    ]
    assert not any(one["name"].startswith("aux") for one in net["layers"])
    totals = net["totals"]
    assert (totals["params"], totals["unused"]["params"]) == (13_378_280, 6_379_728)
    assert totals["unused"]["names"][:3] == ["aux1.conv.weight", "aux1.conv.bias", "aux1.f1.weight"]
    assert len(totals["unused"]["names"]) == 12
    extra = sum(macs for _, _, macs in taps)
    assert totals["training_macs"]["forward"] == totals["macs"] + extra == 1_591_044_096
    assert net["memory"]["gradients"] == 4 * 13_378_280


def test_without_taps_training_has_no_layers_of_its_own() -> None:
    net = told(subject("googlenet"))
    assert net["training_layers"] == []
    assert net["totals"]["training_macs"]["forward"] == net["totals"]["macs"] == 1_582_671_872


def test_a_net_that_cannot_be_trained_has_nulls_and_a_reason() -> None:
    net = told(subject("resnet18", (3, 32, 32)), batch_size=1)
    start = "a batch of 1 cannot be trained on: Expected more than 1 value per channel"
    made = net["memory"]
    assert made["reason"].startswith(start)
    for name in ("weights", "gradients", "optimizer_state", "batch", "activations", "peak",
                 "at_peak", "where"):  # fmt: skip
        assert made[name] is None
    assert (made["batch_size"], made["optimizer"], made["precision"]) == (1, "sgd", "32-true")
    assert {one["kept_bytes"] for one in net["layers"]} == {None}
    totals = net["totals"]
    assert (totals["training_macs"], net["training_layers"]) == (None, [])
    for name in ("saved", "peak"):
        counted = totals["conventions"][name]
        assert [counted[key] for key in ("values", "bytes", "batch_size")] == [None] * 3
    assert (totals["params"], totals["macs"], totals["activations"]) == (
        11_689_512, 37_523_456, 59_368
    )  # fmt: skip


def test_two_images_can_be_trained_on_where_one_cannot() -> None:
    made = told(subject("resnet18", (3, 32, 32)), batch_size=2)["memory"]
    assert made["reason"] is None
    assert made["peak"] > made["weights"] + made["gradients"] + made["optimizer_state"]


@pytest.mark.parametrize("memory", ["saved", "peak"])
def test_the_conventions_of_training_are_bytes_of_the_batch(memory) -> None:
    net, other = told(subject("lenet5"), memory, batch_size=3), told(subject("lenet5"))
    assert [one["bytes"] for one in net["layers"]] == [one["kept_bytes"] for one in net["layers"]]
    assert {one["activations"] for one in net["layers"]} == {None}
    assert (net["totals"]["activations"], net["totals"]["bytes"]) == (None, None)
    kept = {one["name"]: one["bytes"] for one in net["layers"] if one["bytes"]}
    assert kept == {
        "input": 3 * 4 * 1024, "c1_act": 3 * 4 * 4704, "s2": 3 * 4 * 1176,
        "c3_act": 3 * 4 * 1600, "s4": 3 * 4 * 400, "c5_act": 3 * 4 * 120, "f6_act": 3 * 4 * 84,
    }  # fmt: skip
    made, counted = net["memory"], net["totals"]["conventions"]
    assert counted["saved"]["bytes"] == made["activations"] + made["batch"]
    assert counted["peak"]["bytes"] == made["peak"]
    assert (counted[memory]["values"], counted[memory]["batch_size"]) == (None, 3)
    for name in ("rows", "slides", "outputs"):  # there, whichever the columns have
        assert counted[name] == other["totals"]["conventions"][name]


def frozen(count: int) -> Subject:
    made = chain(
        (3, 8, 8), one=nn.Conv2d(3, 4, 3), two=nn.Conv2d(4, 5, 3), three=nn.Conv2d(5, 6, 3)
    )
    for module in list(made.net.children())[:count]:
        module.requires_grad_(requires_grad=False)
    return made


def test_frozen_parameters_have_no_gradient_no_state_and_keep_nothing() -> None:
    params = [3 * 4 * 9 + 4, 4 * 5 * 9 + 5, 5 * 6 * 9 + 6]
    whole, part = told(frozen(0)), told(frozen(2))
    totals, made = part["totals"], part["memory"]
    assert (totals["trainable"], totals["frozen"]) == (params[2], params[0] + params[1])
    assert (totals["params"], totals["unused"]["params"]) == (sum(params), 0)
    assert made["weights"] == 4 * sum(params)
    assert made["gradients"] == made["optimizer_state"] == 4 * params[2]
    assert [one["kept_bytes"] for one in part["layers"]] == [2 * 4 * 3 * 64, 0, 2 * 4 * 5 * 16, 0]
    assert [one["kept_bytes"] for one in whole["layers"]][1] == 2 * 4 * 4 * 36
    macs = [6 * 6 * 4 * 27, 4 * 4 * 5 * 36, 2 * 2 * 6 * 45]
    assert totals["training_macs"] == {"forward": sum(macs), "backward": macs[2]}
    assert whole["totals"]["training_macs"]["backward"] == macs[0] + 2 * macs[1] + 2 * macs[2]


def test_a_net_that_is_frozen_as_a_whole_is_audited_all_the_same() -> None:
    net = told(frozen(3))
    assert net["totals"]["trainable"] == 0
    assert net["memory"]["peak"] is None
    assert net["memory"]["reason"] == "no parameter of the net can be trained"


def test_each_call_keeps_its_own_bytes() -> None:
    act = nn.Tanh()
    net = told(chain((1, 4, 4), one=nn.Conv2d(1, 2, 1), a=act, two=nn.Conv2d(2, 3, 3), b=act))
    kept = [(one["name"], one["call"], one["kept_bytes"]) for one in net["layers"] if one["call"]]
    assert kept == [("a", 1, 2 * 4 * 3 * 4)]
    assert layer(net, "a")["kept_bytes"] == 2 * 4 * 2 * 16


def test_parts_of_the_peak_that_are_empty_are_left_out() -> None:
    net = subject("perceptron")
    plain = Setting(2, replace(MOMENTUM, momentum=0))
    made = audit(net, plain, "rows")["memory"]
    assert made["optimizer_state"] == 0
    assert "optimizer_state" not in made["at_peak"]
    assert "optimizer_state" in told(net)["memory"]["at_peak"]
    assert min(made["at_peak"].values()) > 0
