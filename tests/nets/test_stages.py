from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import FILES, build, numbers, on_meta, spec

from cnnctl import nets
from cnnctl.config.library import section
from cnnctl.nets import meta
from cnnctl.nets.net import Net
from cnnctl.nets.stages import has_parameters, inside, learners, rows, starts

SMALLEST = {numbers(name)["family"]: name for name in sorted(FILES, reverse=True)}
SMALLEST.pop("library_masks")  # whose layers are in what torchvision has made


def library(name: str, size: int = 64) -> Net:
    """A net of a library on the meta device, for small images."""
    made, problems = nets.read_spec(section(name))
    assert problems == []
    assert made is not None
    with meta.device():
        return nets.build(made, num_classes=5, shape=(3, size, size))


def begin(net: Net, shape: tuple[int, int, int]) -> list[str]:
    """Where the stages of all layers but the last begin."""
    return starts(net, shape, learners(net)[:-1])


@pytest.mark.parametrize("name", SMALLEST.values())
def test_the_rows_of_a_net_are_its_layers(name) -> None:
    net = on_meta(name)
    assert list(rows(net)) == list(net.named_children())
    named = {parameter.partition(".")[0] for parameter, _ in net.named_parameters()}
    assert learners(net) == [row for row, _ in net.named_children() if row in named]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("alexnet", ["conv1", "conv2", "conv3", "fc6"]),
        ("densenet121", ["conv1", "dense1_1", "transition1", "transition2", "transition3"]),
        ("efficientnet_b0", ["stem", "stage3_1", "stage4_1", "stage5_1", "stage7_1"]),
        ("googlenet", ["conv1", "conv2_reduce", "inception3a", "inception4a", "inception5a"]),
        ("lenet5", ["c1", "c3", "c5"]),
        ("mlp", ["f1"]),
        ("mobilenet_v2", ["conv1", *(f"bottleneck{n}_1" for n in (2, 3, 4, 6))]),
        ("nin", ["conv1", "conv2", "conv3", "conv4"]),
        ("perceptron", []),
        ("resnet20", ["conv1", "conv3_1", "conv4_1"]),
        ("resnet50", ["conv1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]),
        ("shufflenet_v2_x1_0", ["conv1", "stage2_1", "stage3_1", "stage4_1"]),
        ("vgg16_bn", [*(f"conv{n}_1" for n in range(1, 6)), "fc6"]),
        ("wrn40_4", ["conv1", "conv3_1", "conv4_1"]),
    ],
)
def test_a_stage_begins_where_the_size_of_the_maps_changes(name, found) -> None:
    assert begin(on_meta(name), spec(name).input) == found


@pytest.mark.parametrize("name", SMALLEST.values())
def test_every_family_has_stages_in_the_order_of_its_layers(name) -> None:
    net = on_meta(name)
    body, found = learners(net)[:-1], begin(net, spec(name).input)
    assert found == [row for row in body if row in found]
    assert found[:1] == body[:1]
    assert len(found) >= min(len(body), 1)


def test_stages_are_those_of_the_images_given() -> None:
    small = on_meta("resnet18", (3, 16, 16), 10, small_input=False)
    assert begin(small, (3, 16, 16)) == ["conv1", "conv2_1", "conv3_1", "conv4_1"]  # 8, 4, 2, 1, 1


def test_a_stage_of_some_layers_begins_with_the_first_of_them() -> None:
    net = on_meta("resnet20")
    layers = [row for row in learners(net) if row not in ("conv1", "conv3_1", "fc")]
    assert starts(net, (3, 32, 32), layers) == ["conv1_norm", "conv3_2", "conv4_1"]
    assert starts(net, (3, 32, 32), []) == []


def test_finding_stages_leaves_the_net_as_it_was() -> None:
    net = on_meta("vgg11_bn", (3, 32, 32))
    net.conv1_1_norm.eval()
    modes = [module.training for module in net.modules()]
    begin(net, (3, 32, 32))
    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("torchvision/resnet18", ["conv1", *(f"layer{n}.0" for n in range(1, 5))]),
        ("torchvision/vgg11", [*(f"features.{n}" for n in (0, 3, 6, 11, 16)), "classifier.0"]),
        ("torchvision/convnext_tiny", ["features.0.0", *(f"features.{n}.1" for n in (2, 4, 6))]),
        ("timm/resnet18", ["conv1", *(f"layer{n}.0" for n in range(1, 5))]),
        ("timm/efficientnet_b0", ["conv_stem", *(f"blocks.{n}.0" for n in (1, 2, 3, 5))]),
    ],
)
def test_the_net_of_a_library_is_opened(name, found) -> None:
    net = library(name, 64)
    assert begin(net, (3, 64, 64)) == [f"net.{row}" for row in found]


def test_parameters_that_are_in_no_layer_stand_before_the_layers() -> None:
    net = library("timm/vit_tiny_patch16_224", 224)
    assert learners(net)[:3] == ["net.cls_token", "net.pos_embed", "net.patch_embed"]
    assert learners(net)[-1] == "net.head"


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/vit_tiny_patch16_224"])
def test_every_parameter_of_a_librarys_net_is_in_one_row(name) -> None:
    net = library(name, 224)
    for parameter, _ in net.named_parameters():
        assert sum(inside(parameter, [row]) for row in learners(net)) == 1


class Two(nn.Module):
    """Gives two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, value: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(value), value


class First(nn.Module):
    def forward(self, both: tuple[Tensor, Tensor]) -> Tensor:
        return both[0]


def test_layers_that_give_several_tensors_are_no_mistake() -> None:
    with torch.device("meta"):
        net = nn.Sequential(Two(), First(), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    assert starts(net, (3, 8, 8), learners(net)) == ["0", "2"]


def test_what_has_parameters() -> None:
    given: list[Any] = [nn.Parameter(torch.zeros(1)), nn.Linear(1, 1), nn.ReLU(), nn.Flatten()]
    assert [has_parameters(one) for one in given] == [True, True, False, False]
    norm = build("vgg11_bn", (3, 32, 32)).conv1_1_norm
    assert has_parameters(norm)


@pytest.mark.parametrize(
    ("name", "found"),
    [("fc", True), ("fc.weight", True), ("fc2.weight", False), ("f", False), ("net.fc", False)],
)
def test_a_name_is_in_a_layer_by_whole_words(name, found) -> None:
    assert inside(name, ["conv1", "fc"]) == found
    assert not inside(name, [])
