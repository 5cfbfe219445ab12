from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from regimes import BODY, refused, settle
from torch import nn
from zoo import build, on_meta, spec

from cnnctl import transfer
from cnnctl.transfer import ALL, TOP


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
