"""What a regime of transfer learning does to a net and to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from regimes import BODY, option, refused, settle
from torch import nn
from zoo import build, on_meta

from cnnctl import nets, runs, transfer, weights
from cnnctl.audit import step
from cnnctl.config import learning
from cnnctl.nets import meta
from cnnctl.transfer import Regime

RUN = ("model=lenet5", "augment=none", "progress=none", "trainer.max_epochs=1", "--json")


def test_frozen_layers_are_used_as_they_were_and_dropout_goes_with_the_layer_behind_it() -> None:
    net = build("alexnet_tv", (3, 64, 64))
    modes = {}
    for name, until in (("fc8", "fc8"), ("fc7", "fc7"), ("all", "conv1")):
        regime = settle("finetune_top", on_meta("alexnet_tv", (3, 64, 64)), shape=(3, 64, 64),
                        new=(), freeze_until=until)  # fmt: skip
        transfer.fix(net, regime, 0)
        modes[name] = [row for row, layer in net.named_children()
                       if isinstance(layer, nn.Dropout) and layer.training]  # fmt: skip
    assert modes == {"fc8": [], "fc7": ["fc7_drop"], "all": ["fc6_drop", "fc7_drop"]}
    assert net.training


@pytest.mark.parametrize("freeze_norm", [True, False])
def test_batch_norms_of_frozen_layers_keep_their_statistics_if_wanted(freeze_norm) -> None:
    net = build("resnet20", classes=5)
    regime = settle("finetune_top", freeze_norm=freeze_norm)
    transfer.freeze(net, regime)
    transfer.fix(net, regime, 0)
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(torch.randn(4, 3, 32, 32))
    changed = {name for name, value in net.named_buffers() if not torch.equal(value, before[name])}
    top = {name for name in before if name.startswith("conv4")}
    assert changed == (top if freeze_norm else set(before))
    transfer.fix(net, settle("finetune_all"), 0)
    assert all(module.training for module in net.modules())


def test_the_backward_pass_ends_at_the_first_layer_that_learns() -> None:
    net = build("resnet20", classes=5)
    transfer.freeze(net, settle("finetune_top"))
    told = {}
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda *args, name=name: told.update({name: args[2]}))
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    assert not any(told[name].requires_grad for name in BODY[:8])
    assert all(told[name].requires_grad for name in BODY[8:])
    assert {name for name, value in net.named_parameters() if value.grad is not None} == {
        name for name, _ in net.named_parameters() if name.startswith(("conv4", "fc"))
    }


def optimizers(net: nn.Module, regime: Regime) -> list[torch.optim.Optimizer]:
    """Every rule in every form, with a group for the parameters of each stage."""
    stages: dict[int | None, list[nn.Parameter]] = {}
    for name, value in net.named_parameters():
        stages.setdefault(regime.begins(name), []).append(value)
    made: list[torch.optim.Optimizer] = []
    forms: Any = ({"foreach": True}, {"foreach": False}, {"fused": True})
    for how in forms:
        groups = [[{"params": values} for values in stages.values()] for _ in range(4)]
        made += [
            torch.optim.SGD(groups[0], 0.1, 0.9, weight_decay=0.1, nesterov=True, **how),
            torch.optim.Adam(groups[1], 0.1, weight_decay=0.1, **how),
            torch.optim.AdamW(groups[2], 0.1, weight_decay=0.1, **how),
        ]
        if "fused" not in how:
            made.append(torch.optim.RMSprop(groups[3], 0.1, weight_decay=0.1, **how))
    return made


@pytest.mark.parametrize("which", range(11))
def test_a_frozen_parameter_keeps_its_bits_until_its_stage_begins(which) -> None:
    net = build("lenet5")
    regime = settle("finetune_all", on_meta("lenet5"), shape=(1, 32, 32), new=(), unfreeze_every=1)
    assert regime.stages == ("c5", "c3", "c1")
    optimizer = optimizers(net, regime)[which]
    for epoch in range(5):
        transfer.freeze(net, regime, epoch)
        transfer.fix(net, regime, epoch)
        before = {name: value.clone() for name, value in net.named_parameters()}
        for _ in range(2):
            optimizer.zero_grad()
            net.loss(net(torch.randn(4, 1, 32, 32)), torch.arange(4)).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1)
            optimizer.step()
        for name, value in net.named_parameters():
            frozen = name.partition(".")[0] in regime.still(epoch)
            assert torch.equal(value, before[name]) == frozen, (epoch, name)
            assert (value in optimizer.state) == (not frozen)
    assert regime.still(4) == ()


def test_the_memory_of_a_step_is_predicted_without_what_does_not_learn() -> None:
    sgd, told = option("optimizer", "sgd", learning.Sgd), {}
    for name in ("feature_extract", "finetune_top", "finetune_all"):
        net = on_meta("resnet20", classes=10)
        regime = settle(name)
        transfer.freeze(net, regime)
        told[name] = step.measure(net, (3, 32, 32), step.Setting(64, sgd))
        assert told[name].gradients == told[name].optimizer_state == 4 * regime.learning
    kept = [memory.activations for memory in told.values()]
    assert kept[0] < kept[1] / 10 < kept[2] / 40
    assert told["feature_extract"].peak < told["finetune_top"].peak < told["finetune_all"].peak / 4


def test_the_net_of_a_library_is_frozen_inside() -> None:
    section = {
        "name": "torchvision/resnet18", "family": "library", "year": None, "paper": "",
        "input": [3, 64, 64], "classes": 5, "twin": None, "init": "torch", "strict": False,
    }  # fmt: skip
    made, problems = nets.read_spec(section)
    assert problems == []
    assert made is not None
    with meta.device():
        net = nets.build(made, num_classes=5, shape=(3, 64, 64))
    new = ("net.fc.weight", "net.fc.bias")
    top = settle("finetune_top", net, shape=(3, 64, 64), new=new)
    assert top.frozen[-1] == "net.layer3.1"
    assert settle("finetune_top", net, shape=(3, 64, 64), new=new,
                  freeze_until="net.layer4").frozen == top.frozen  # fmt: skip
    assert (top.share("net.fc.weight"), top.share("net.conv1.weight")) == (1, 0.1)
    text = refused("finetune_top", net, shape=(3, 64, 64), new=new, freeze_until="layer4.0")
    assert text.startswith("transfer.freeze_until: the net has no layer 'layer4.0' to learn (did")
    assert "did you mean 'net.layer4.0'? stages begin at net.conv1, net.layer1.0, " in text


def weights_of(result: dict[str, Any]) -> dict[str, torch.Tensor]:
    return weights.read(Path(result["run"]) / runs.CHECKPOINTS / runs.LAST).weights


def test_a_run_changes_what_learns_and_nothing_else(cnnctl) -> None:
    first = weights_of(cnnctl("train", *RUN).document["result"])
    words = (*RUN, "pretrained=latest", "transfer=finetune_top", "seed=1")
    told = cnnctl("train", *words, "--dry-run").document["result"]["transfer"]
    assert (told["frozen"], told["new"], told["learning"]) == (["c1", "c3"], ["output"], 59134)
    result = cnnctl("train", *words).document["result"]
    assert abs(result["memory"]["error"]) < 0.01
    now = weights_of(result)
    same = {name.partition(".")[0] for name in now if torch.equal(now[name], first[name])}
    assert same == {"c1", "c3"}


def test_a_regime_without_weights_to_start_from_is_refused(cnnctl) -> None:
    outcome = cnnctl("train", "transfer=feature_extract")
    text = "transfer=feature_extract needs weights to start from"
    hint = "pretrained=torchvision, a file or a run"
    assert (outcome.code, outcome.err) == (2, f"cnnctl: error: {text} ({hint})\n")
