"""Multiply-adds and parameters of library nets, against numbers that others have published."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torchvision
import yaml
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import get_model_weights, list_models
from zoo import count, spec

from cnnctl.audit.forward import forward
from cnnctl.config import paths
from cnnctl.nets import library, meta

aten: Any = torch.ops.aten
FILLING = {aten.normal_.default, aten.uniform_.default, aten.fill_.Scalar, aten.zero_.default}
NAMES = list_models(module=torchvision.models)
# One of each family in every run, the others in `pytest -m slow`.
FAMILIES = {
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x1_0",
    "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32", "wide_resnet50_2",
}  # fmt: skip
# The published number counts the auxiliary classifier, which ours is built without: 1x1 to 128
# and 5x5 to 768 channels, each with batch normalisation, and a dense layer for 1000 classes.
AUX = {"inception_v3": 768 * 128 + 2 * 128 + 128 * 25 * 768 + 2 * 768 + 769 * 1000}
TESTS = paths.conf_dir().parent / "tests"
REFERENCE = yaml.safe_load((TESTS / "nets" / "reference.yaml").read_text(encoding="utf-8"))
SOURCE = re.compile(r"(torchvision)\.models\.(\w+)|(timm) (\w+)")
COUNTED = [name for name, row in REFERENCE.items() if "macs" in row and SOURCE.match(row["source"])]
FAST = {"mobilenet_v1_relu6", "inception_v4", "vgg16", "resnet50_v1_5", "shufflenet_v2_x0_5"}


class Unfilled(TorchDispatchMode):
    """Initial weights are not drawn: memory that is never written costs nothing."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return args[0] if func in FILLING else func(*args, **(kwargs or {}))


def built(reference: str, size: int) -> nn.Module:
    with Unfilled(), meta.device():
        if reference.startswith("torchvision/vit"):  # they are built for one size
            name = reference.removeprefix("torchvision/")
            return torchvision.models.get_model(name, image_size=size)
        return library.create(reference)


def multiply_adds(net: nn.Module, size: int) -> int:
    assert all(parameter.is_meta for parameter in net.parameters())
    return sum(forward(net, (3, size, size)).walk.macs.values())


def marked(name: str, fast: set[str]) -> Any:
    return name if name in fast else pytest.param(name, marks=pytest.mark.slow)


def test_torchvision_has_published_80_nets() -> None:
    assert len(NAMES) == 80
    assert set(NAMES) >= FAMILIES


@pytest.mark.parametrize("name", [marked(name, FAMILIES) for name in NAMES])
def test_the_numbers_are_those_that_torchvision_publishes(name: str) -> None:
    sizes = set()
    for weights in get_model_weights(name):
        size, published = weights.transforms().crop_size[0], weights.meta
        net = built(f"torchvision/{name}", size)
        assert count(net) == published["num_params"] - AUX.get(name, 0)
        assert round(multiply_adds(net, size) / 1e9, 3) == published["_ops"]
        sizes.add(size)
    assert sizes


@pytest.mark.parametrize("name", [marked(name, FAST) for name in COUNTED])
def test_the_numbers_are_those_that_the_library_has_in_the_reference(name: str) -> None:
    found, size = SOURCE.match(REFERENCE[name]["source"]), spec(name).input[1]
    assert found is not None
    net = built("/".join(part for part in found.groups() if part), size)
    assert count(net) == REFERENCE[name]["params"]
    assert multiply_adds(net, size) == REFERENCE[name]["macs"]
