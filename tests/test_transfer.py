from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import torch
from torch import nn
from zoo import build, on_meta, spec

from cnnctl import nets, runs, transfer
from cnnctl.audit import step
from cnnctl.config import learning, paths
from cnnctl.config.read import read
from cnnctl.config.schema import Hardware, Transfer
from cnnctl.errors import ConfigError
from cnnctl.nets import meta
from cnnctl.nets.net import Net
from cnnctl.transfer import ALL, TOP, Regime

BODY = ("conv1", "conv1_norm", "conv2_1", "conv2_2", "conv2_3",
        "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2", "conv4_3")  # fmt: skip
T = TypeVar("T")


def option(group: str, name: str, cls: type[T], **changes: Any) -> T:
    """An option of a group, with some keys set."""
    values = runs.read_config(paths.conf_dir() / group / f"{name}.yaml")
    found, problems = read(cls, values | changes, group)
    assert problems == []
    assert found is not None
    return found


def settle(
    name: str, net: Net | None = None, *, shape=(3, 32, 32), images: int = 500, classes: int = 10,
    epochs: int = 10, new=("fc.weight", "fc.bias"), nodes: int = 1, **changes: Any,
) -> Regime:  # fmt: skip
    """The regime for ResNet-20, or another net, on so many images."""
    train: Any = SimpleNamespace(
        transfer=option("transfer", name, Transfer, **changes),
        trainer=SimpleNamespace(max_epochs=epochs),
        hardware=option("hardware", "cpu", Hardware, num_nodes=nodes),
        data=SimpleNamespace(channels=shape[0], size=shape[1]),
    )  # fmt: skip
    source: Any = SimpleNamespace(sizes={"train": images}, classes=("",) * classes)
    made = on_meta("resnet20", shape, classes) if net is None else net
    regime = transfer.settle(train, made, source, new)
    assert regime is not None
    return regime


def refused(*args: Any, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        settle(*args, **changes)
    return str(caught.value)


def learns(net: nn.Module) -> set[str]:
    """The layers all of whose parameters learn; no layer learns in part."""
    state = {
        name: {value.requires_grad for value in layer.parameters()}
        for name, layer in net.named_children()
    }
    assert all(len(kinds) <= 1 for kinds in state.values())
    return {name for name, kinds in state.items() if kinds == {True}}


def test_none_is_no_regime() -> None:
    train: Any = SimpleNamespace(transfer=SimpleNamespace(name="none"))
    source: Any = None
    assert transfer.settle(train, nn.Sequential(), source, ()) is None


@pytest.mark.parametrize(
    ("name", "frozen", "why"),
    [
        ("feature_extract", BODY, "the last layer learns"),
        ("finetune_top", BODY[:8], "the last stage learns, too"),
        ("finetune_all", (), "every layer learns"),
    ],
)
def test_each_regime_freezes_what_it_says(name, frozen, why) -> None:
    regime = settle(name)
    assert (regime.name, regime.why, regime.frozen) == (name, why, frozen)
    assert regime.new == ("fc",)
    net = build("resnet20")
    transfer.freeze(net, regime)
    assert learns(net) == {"fc", *BODY} - set(frozen)
    count = sum(value.numel() for value in net.parameters() if value.requires_grad)
    assert regime.learning == count


@pytest.mark.parametrize(
    ("images", "name", "why"),
    [
        (10, "feature_extract", "1 image a class: fewer than {TOP}"),
        (10 * TOP - 1, "feature_extract", f"{TOP - 1} images a class: fewer than {TOP}"),
        (10 * TOP, "finetune_top", f"{TOP} images a class: from {TOP} on, below {ALL}"),
        (10 * ALL - 1, "finetune_top", f"{ALL - 1} images a class: from {TOP} on, below {ALL}"),
        (10 * ALL, "finetune_all", f"{ALL} images a class: from {ALL} on"),
    ],
)
def test_auto_goes_by_the_images_of_a_class(images, name, why) -> None:
    regime, asked = settle("auto", images=images), settle(name)
    assert (regime.name, regime.why) == (name, why.format(TOP=TOP))
    assert (regime.frozen, regime.learning) == (asked.frozen, asked.learning)


@pytest.mark.parametrize(
    ("name", "shape", "top"),
    [
        ("alexnet", (3, 224, 224), "fc6"),
        ("densenet_bc100_12", (3, 32, 32), "transition2"),
        ("efficientnet_b0", (3, 224, 224), "stage7_1"),
        ("googlenet", (3, 224, 224), "inception5a"),
        ("inception_v3", (3, 299, 299), "mixed_7a"),
        ("lenet5", (1, 32, 32), "c5"),
        ("lenet5_1998", (1, 32, 32), "c5"),
        ("mlp", (1, 32, 32), "f1"),
        ("mobilenet_v1", (3, 224, 224), "conv13_dw"),
        ("mobilenet_v2", (3, 224, 224), "bottleneck6_1"),
        ("neocognitron", None, "us3"),
        ("nin", (3, 224, 224), "conv4"),
        ("resnet50", (3, 224, 224), "conv5_1"),
        ("shufflenet_v1", (3, 224, 224), "stage4_1"),
        ("shufflenet_v2_x1_0", (3, 224, 224), "stage4_1"),
        ("simple_cnn", None, "fc1"),
        ("vgg16_bn", (3, 224, 224), "fc6"),
        ("wrn40_4", (3, 32, 32), "conv4_1"),
        ("xception", (3, 299, 299), "block12"),
    ],
)
def test_the_top_of_each_family_is_its_last_stage(name, shape, top) -> None:
    shape = shape or spec(name).input
    regime = settle("finetune_top", on_meta(name, shape), shape=shape, new=())
    net = on_meta(name, shape)
    behind = [row for row, layer in net.named_children() if list(layer.parameters())]
    assert regime.frozen == tuple(behind[: behind.index(top)])
    assert regime.new == (behind[-1],)


def test_a_net_of_one_layer_learns_as_a_whole() -> None:
    for name in ("feature_extract", "finetune_top", "finetune_all"):
        regime = settle(name, on_meta("perceptron"), shape=(1, 20, 20), new=())
        assert (regime.frozen, regime.new) == ((), ("output",))


def test_whatever_starts_anew_learns_at_the_full_rate() -> None:
    new = ("aux.fc.weight", "aux.fc.bias", "fc.weight", "fc.bias")
    shape = (3, 299, 299)
    net = on_meta("inception_v3", shape, aux=0.4)
    regime = settle("feature_extract", net, shape=shape, new=new)
    assert regime.new == ("aux", "fc")
    assert "aux" not in regime.frozen


def test_rates_are_those_of_new_layers_and_of_the_others() -> None:
    regime = settle("finetune_all", backbone_lr=0.2)
    assert regime.share("fc.weight") == regime.share("fc.bias") == 1
    assert regime.share("conv1.weight") == regime.share("conv4_3.branch.conv1.weight") == 0.2
    assert regime.share("fc2.weight") == 0.2  # another layer, though its name begins like it


def test_freeze_until_names_the_first_layer_that_learns() -> None:
    regime = settle("finetune_top", freeze_until="conv3_2")
    assert regime.frozen == BODY[:6]
    assert regime.why == "layers before conv3_2 do not learn"
    assert settle("finetune_top", freeze_until="conv1").frozen == ()
    assert settle("finetune_top", freeze_until="fc").frozen == BODY


def test_a_layer_that_the_net_does_not_have_is_told_with_the_nearest() -> None:
    begin = "conv1, conv3_1, conv4_1, fc"
    assert refused("finetune_top", freeze_until="conv4_4") == (
        "transfer.freeze_until: the net has no layer 'conv4_4' to learn "
        f"(did you mean 'conv4_1'? stages begin at {begin})"
    )
    assert refused("finetune_top", freeze_until="flatten") == (
        f"transfer.freeze_until: the net has no layer 'flatten' to learn (stages begin at {begin})"
    )


def test_stages_thaw_from_the_top_every_few_epochs() -> None:
    regime = settle("finetune_all", unfreeze_every=3)
    assert regime.frozen == BODY
    assert regime.stages == ("conv4_1", "conv3_1", "conv1")
    still = [len(regime.still(epoch)) for epoch in range(12)]
    assert still == [11, 11, 11, 8, 8, 8, 5, 5, 5, 0, 0, 0]
    assert regime.still(3) == BODY[:8]
    assert [len(settle("finetune_top").still(epoch)) for epoch in (0, 9)] == [8, 8]


def test_a_parameter_begins_to_learn_with_its_stage() -> None:
    regime = settle("finetune_top", freeze_until="conv3_2", unfreeze_every=4)
    names = ("fc.weight", "conv4_1.branch.conv1.weight", "conv3_2.branch.conv1.weight")
    assert [regime.begins(name) for name in names] == [0, 4, 8]
    assert regime.begins("conv3_1.branch.conv1.weight") is None
    assert settle("finetune_top").begins("conv3_3.branch.conv1.weight") is None
    assert settle("finetune_top").begins("conv4_1.branch.conv1.weight") == 0


@pytest.mark.parametrize(
    ("name", "changes", "stages"),
    [
        ("finetune_top", {}, ("conv4_1",)),
        ("finetune_top", {"freeze_until": "conv3_2"}, ("conv4_1", "conv3_2")),
        ("finetune_top", {"freeze_until": "conv3_1"}, ("conv4_1", "conv3_1")),
        ("finetune_top", {"freeze_until": "conv4_3"}, ("conv4_3",)),
        ("auto", {"images": 100 * ALL}, ("conv4_1", "conv3_1", "conv1")),
    ],
)
def test_what_thaws_is_what_would_learn(name, changes, stages) -> None:
    regime = settle(name, unfreeze_every=1, **changes)
    assert (regime.frozen, regime.stages) == (BODY, stages)
    assert regime.still(len(stages)) == BODY[: BODY.index(stages[-1])]
    if name != "auto":
        assert regime.still(9) == settle(name, **changes).frozen


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        (
            "auto",
            {"images": 50},
            (
                "transfer.unfreeze_every=4 has no effect with feature_extract "
                f"(5 images a class: fewer than {TOP}) (set transfer.unfreeze_every=null)"
            ),
        ),
        (
            "finetune_all",
            {},
            (
                "transfer.unfreeze_every=4: the last of 3 stages would begin after epoch 12 "
                "(trainer.max_epochs is 10; set transfer.unfreeze_every=3)"
            ),
        ),
        (
            "finetune_all",
            {"epochs": 3},
            (
                "transfer.unfreeze_every=4: the last of 3 stages would begin after epoch 12 "
                "(trainer.max_epochs is 3; set trainer.max_epochs=4)"
            ),
        ),
    ],
)
def test_stages_that_never_learn_are_refused(name, changes, text) -> None:
    assert refused(name, unfreeze_every=4, **changes) == text


def test_stages_thaw_on_one_device_only() -> None:
    text = refused("finetune_all", unfreeze_every=1, nodes=2)
    assert text.startswith("transfer.unfreeze_every works on one device, got 2")


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
    for how in ({"foreach": True}, {"foreach": False}, {"fused": True}):
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
