from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from zoo import count

from cnnctl import nets
from cnnctl.config import library as sections
from cnnctl.errors import ConfigError, NetError
from cnnctl.nets import library
from cnnctl.nets.library import Library


def net(name: str, shape: tuple[int, int, int] = (3, 64, 64), classes: int = 7) -> nn.Module:
    spec, problems = nets.read_spec(sections.section(name))
    assert problems == []
    assert spec is not None
    with torch.device("meta"):
        return nets.build(spec, num_classes=classes, shape=shape)


@pytest.mark.parametrize(
    "name",
    [
        "torchvision/resnet18",
        "torchvision/googlenet",
        "timm/resnet18d",
        "torchvision/regnet_y_400mf",
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_classes_and_channels_are_those_of_the_data(name, channels) -> None:
    built = net(name, (channels, 96, 96))
    assert isinstance(built, Library)
    assert [child for child, _ in built.named_children()] == ["net"]
    assert built(torch.empty(2, channels, 96, 96, device="meta")).shape == (2, 7)


def test_another_number_of_channels_changes_the_first_convolution_only() -> None:
    colour, grey = library.create("torchvision/alexnet"), net("torchvision/alexnet", (1, 224, 224))
    assert count(colour) == 61_100_840
    assert count(grey) == 61_100_840 - 2 * 64 * 11 * 11 - 993 * 4097
    first = grey.net.features[0]
    assert (first.kernel_size, first.stride, first.padding) == ((11, 11), (4, 4), (2, 2))


def test_a_size_that_the_net_refuses_is_told_with_its_own() -> None:
    with pytest.raises(NetError) as caught:
        net("torchvision/vit_b_16", (3, 64, 64))
    text = "torchvision/vit_b_16 does not take 3x64x64 images: Wrong image height! Expected 224"
    assert str(caught.value).startswith(text)
    assert caught.value.hint == "its own size: data.size=224"


def test_strict_names_the_layers_of_a_library_too() -> None:
    keys = sections.section("torchvision/resnet18") | {"strict": True}
    spec, _ = nets.read_spec(keys)
    assert spec is not None
    with torch.device("meta"), pytest.raises(ConfigError) as caught:
        nets.build(spec, num_classes=7, shape=(3, 224, 224))
    first = "model.strict: fractions are illegal, but net.conv1: (224 + 6 − 7)/2 + 1 = 112.5"
    assert caught.value.problems[0].message == first


def test_a_layer_that_gets_too_little_is_named() -> None:
    with pytest.raises(NetError, match=r"too small for layer 'net\.Mixed_6a\.branch3x3\.conv'"):
        net("torchvision/inception_v3", (3, 32, 32))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("torchvision/resnet81", "did you mean 'resnet18'?"),
        ("torchvision/raft_large", None),
        ("torchvision/fcn_resnet5", "did you mean 'fcn_resnet50'?"),
        ("timm/resnet18dd", "did you mean 'resnet18d'?"),
    ],
)
def test_an_unknown_name_is_refused(name, hint) -> None:
    with pytest.raises(NetError) as caught:
        net(name)
    library_name, _, known = name.partition("/")
    assert caught.value.message == f"{library_name} has no classification net '{known}'"
    assert caught.value.hint == hint


def test_without_timm_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(NetError) as caught:
        net("timm/resnet18d")
    assert str(caught.value) == "timm is not installed (pip install 'cnnctl[timm]')"


def test_a_rule_for_the_weights_reaches_the_librarys_layers() -> None:
    keys = sections.section("torchvision/squeezenet1_1") | {"init": "gaussian"}
    spec, _ = nets.read_spec(keys)
    assert spec is not None
    built = nets.build(spec, num_classes=10, shape=(3, 64, 64))
    stds = [layer.weight.std() for layer in built.modules() if isinstance(layer, nn.Conv2d)]
    assert all(0.008 < std < 0.012 for std in stds)


@pytest.mark.parametrize("model", ["torchvision/shufflenet_v2_x0_5", "timm/test_resnet"])
def test_it_trains_and_is_measured_again(cnnctl, model) -> None:
    words = ("data.size=32", "trainer.max_steps=2", "progress=none", "--json")
    trained = cnnctl("train", f"model={model}", *words)
    assert trained.code == 0, trained.err
    assert model.replace("/", "-") in trained.document["result"]["run"]
    again = cnnctl("evaluate", "latest", "--json").document["result"]
    assert again["metrics"]["top1"] == trained.document["result"]["test"]["top1"]
