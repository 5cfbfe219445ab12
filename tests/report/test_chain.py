from __future__ import annotations

import audits
import pytest

from cnnctl.report import chain, tree

LAWFUL = ("lenet5", "lenet5_1998", "vgg16_bn", "resnet20", "googlenet", "densenet_bc100_12",
          "mobilenet_v2", "shufflenet_v2_x1_0", "efficientnet_b0")  # fmt: skip


def labels(net) -> list[str]:
    return [step.label for step in chain.chain(net)]


@pytest.mark.parametrize("name", LAWFUL)
def test_the_steps_have_all_parameters_and_multiply_adds_of_the_net(name) -> None:
    net = audits.of(name)
    steps = chain.chain(net)
    assert sum(step.params for step in steps) == net["totals"]["params"]
    assert sum(step.macs for step in steps) == net["totals"]["macs"]


@pytest.mark.parametrize("name", LAWFUL)
def test_the_chain_begins_with_the_image_and_ends_with_the_output(name) -> None:
    net = audits.of(name)
    steps = chain.chain(net)
    assert (steps[0].kind, steps[0].output) == ("input", net["input"])
    assert steps[-1].output == net["layers"][-1]["output"]
    assert {step.kind for step in steps} <= set(chain.KINDS)
    assert len(steps) <= chain.LONG


def test_equal_blocks_in_a_row_are_one_step() -> None:
    assert [(step.label, step.times) for step in chain.chain(audits.of("resnet50"))] == [
        ("input", 1), ("conv1", 1), ("pool1", 1), ("conv2_1", 1), ("conv2_2 … conv2_3", 2),
        ("conv3_1", 1), ("conv3_2 … conv3_4", 3), ("conv4_1", 1), ("conv4_2 … conv4_6", 5),
        ("conv5_1", 1), ("conv5_2 … conv5_3", 2), ("avgpool", 1), ("fc", 1),
    ]  # fmt: skip


def test_what_the_steps_do_is_said_in_a_few_words() -> None:
    assert [step.work for step in chain.chain(audits.of("resnet50"))] == [
        "image", "conv 7×7 /2 p3", "max pool 3×3 /2 p1", "4 weight layers",
        "3 weight layers each", "4 weight layers", "3 weight layers each", "4 weight layers",
        "3 weight layers each", "4 weight layers", "3 weight layers each", "avg pool", "dense",
    ]  # fmt: skip


def test_activations_and_flattening_are_no_steps() -> None:
    assert labels(audits.of("lenet5")) == ["input", "c1", "s2", "c3", "s4", "c5", "f6", "output"]


def test_a_normalisation_belongs_to_its_convolution_and_its_parameters_too() -> None:
    conv = audits.layer("conv1")
    norm = audits.layer("conv1_norm", "norm", params=4)
    lone = audits.layer("last_norm", "norm", params=4)
    steps = chain.chain(audits.net(conv, norm, lone))
    assert [(step.name, step.params) for step in steps] == [
        ("input", 0), ("conv1", 42), ("last_norm", 4),
    ]  # fmt: skip


def test_a_layer_without_parameters_that_changes_its_maps_is_kept() -> None:
    conv = audits.layer("conv1")
    steps = [
        chain.chain(audits.net(conv, audits.layer(kind, "silent", type=kind, output=output)))
        for kind, output in (("Pad", [5, 4, 4]), ("ReLU", [2, 4, 4]), ("Flatten", [32]))
    ]
    assert [[step.work for step in found][2:] for found in steps] == [["Pad"], [], []]


def test_a_long_chain_folds_blocks_that_differ_in_their_channels() -> None:
    net = audits.of("densenet_bc100_12")
    assert [(step.label, step.times, step.output) for step in chain.chain(net)] == [
        ("input", 1, [3, 32, 32]), ("conv1", 1, [24, 32, 32]),
        ("dense1_1 … dense1_16", 16, [216, 32, 32]), ("transition1", 1, [108, 16, 16]),
        ("dense2_1 … dense2_16", 16, [300, 16, 16]), ("transition2", 1, [150, 8, 8]),
        ("dense3_1 … dense3_16", 16, [342, 8, 8]), ("norm4", 1, [342, 8, 8]),
        ("avgpool", 1, [342, 1, 1]), ("fc", 1, [10]),
    ]  # fmt: skip


def test_a_short_chain_keeps_blocks_of_other_channels_apart() -> None:
    blocks = [
        *audits.residual("a", 1, channels=2), *audits.residual("b", 5, channels=4),
        *audits.residual("c", 9, channels=4),
    ]  # fmt: skip
    assert labels(audits.net(*blocks)) == ["input", "a", "b … c"]


def test_a_block_that_holds_most_of_the_net_gives_way_to_its_parts() -> None:
    layers = [audits.layer(f"features.{number}", output=[number, 4, 4]) for number in range(2, 6)]
    net = audits.net(*layers, audits.layer("head.fc", "dense", output=[7]))
    assert labels(net) == [
        "input", "features.2", "features.3", "features.4", "features.5", "head",
    ]  # fmt: skip


def test_nested_blocks_give_way_until_no_part_holds_most() -> None:
    layers = [audits.layer(f"net.body.{number}", output=[number, 4, 4]) for number in range(2, 6)]
    assert labels(audits.net(*layers)) == ["input", *(f"net.body.{n}" for n in range(2, 6))]


def test_a_block_in_which_branches_meet_stays_whole() -> None:
    assert labels(audits.net(*audits.residual("block", 1))) == ["input", "block"]


def test_equal_blocks_stay_folded_though_they_hold_most() -> None:
    blocks = [row for n in range(4) for row in audits.residual(f"encoder.{n}", 1 + 4 * n)]
    (_, step) = chain.chain(audits.net(*blocks))
    assert (step.name, step.label, step.times) == ("encoder.0", "encoder.0 … 3", 4)
    assert step.params == 4 * 2 * 38


def test_the_layers_below_a_node_come_with_the_times_that_they_stand_there() -> None:
    twin = [audits.layer("a.x.conv"), audits.layer("a.y.act"), audits.layer("a.y.conv")]
    again = [layer | {"name": layer["name"].replace("y", "z")} for layer in twin[1:]]
    (node,) = tree.grow([*twin, *again], silent=True)
    assert [(layer["name"], times) for layer, times in chain.leaves(node)] == [
        ("a.x.conv", 1), ("a.y.act", 2), ("a.y.conv", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        ("conv", {}, "conv 3×3 p1"),
        ("conv", {"groups": 2, "stride": [2, 2]}, "conv 3×3 /2 p1 g2"),
        ("pool", {"type": "AdaptiveAvgPool2d"}, "avg pool"),
        ("pool", {"type": "mean"}, "pool"),
        ("norm", {"type": "BatchNorm2d"}, "BatchNorm2d"),
        ("join", {}, "add"),
        ("input", {}, "image"),
    ],
)
def test_the_work_of_a_layer(kind, changes, text) -> None:
    assert chain.work(audits.layer("x", kind, **changes)) == text
