from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from zoo import on_meta, spec

from cnnctl.audit.depth import Paths
from cnnctl.audit.forward import forward
from cnnctl.audit.ghost import ghost


def depth(name: str, **changes) -> int:
    return forward(on_meta(name, **changes), spec(name).input).depth


NAMED = [
    *((f"resnet{layers}", layers) for layers in (18, 34, 50, 101, 152, 20, 32, 44, 56, 110)),
    *((f"resnet{layers}_v1_5", layers) for layers in (50, 101, 152)),
    *((f"plain{layers}", layers) for layers in (18, 34, 20, 32, 44, 56)),
    *((f"vgg{layers}", layers) for layers in (11, 13, 16, 19)),
    *((f"vgg{layers}_bn", layers) for layers in (11, 13, 16, 19)),
    *((f"densenet{layers}", layers) for layers in (121, 161, 169, 201)),
    ("resnext50_32x4d", 50),
    ("resnext101_32x8d", 101),
    ("resnext29_8x64d", 29),
    ("wide_resnet50_2", 50),
    ("densenet_bc100_12", 100),
]


@pytest.mark.parametrize(("name", "layers"), NAMED)
def test_a_net_is_as_deep_as_its_name_says(name, layers) -> None:
    assert depth(name) == layers


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("perceptron", 1),
        ("mlp", 2),
        ("lenet5", 5),
        ("alexnet", 8),
        ("zfnet", 8),
        ("googlenet", 22),
        ("vgg_a", 11),
        ("vgg_b", 13),
        ("vgg_c", 16),
        ("vgg_d", 16),
        ("vgg_e", 19),
        ("nin", 12),
        ("mobilenet_v1", 28),
        ("mobilenet_v2", 53),
        ("inception_v3", 48),
        ("inception_v4", 76),
    ],
)
def test_a_net_is_as_deep_as_its_paper_or_its_table_says(name, layers) -> None:
    assert depth(name) == layers


def test_shortcuts_with_a_projection_do_not_make_a_wide_net_deeper() -> None:
    """The paper counts the projections of WRN-28-10 and WRN-40-4 as two more."""
    assert (depth("wrn28_10"), depth("wrn40_4")) == (28 - 2, 40 - 2)


def test_auxiliary_classifiers_do_not_count() -> None:
    assert depth("googlenet", aux=0.3) == 22


def of(net: nn.Module, *shape: int) -> int:
    return forward(net, shape).depth


def test_only_layers_with_parameters_count() -> None:
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.PReLU(), nn.MaxPool2d(2), nn.Flatten()]
    assert of(nn.Sequential(*layers), 2, 6, 6) == 1
    assert of(nn.Sequential(*layers, nn.Linear(12, 4), nn.Softmax(1)), 2, 6, 6) == 2
    assert of(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), 2, 6, 6) == 0


class Branches(nn.Module):
    """One layer beside three, joined by a function, and one layer after."""

    def __init__(self, join) -> None:
        super().__init__()
        self.short = nn.Conv2d(2, 2, 1)
        self.long = nn.Sequential(*(nn.Conv2d(2, 2, 1) for _ in range(3)))
        self.last = nn.LazyConv2d(1, 1)
        self.join = join

    def forward(self, image: Tensor) -> Tensor:
        return self.last(self.join(self.short(image), self.long(image)))


@pytest.mark.parametrize(
    "join",
    [torch.add, torch.mul, torch.maximum, lambda left, right: torch.cat([left, right], 1)],
)
def test_of_branches_the_longest_counts(join) -> None:
    net = Branches(join)
    net(torch.zeros(1, 2, 4, 4))
    assert of(net, 2, 4, 4) == 3 + 1


class Functions(nn.Module):
    """Layers without modules, a shared one among them, and a filter that nobody learns."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(2, 2, 3, 3))
        self.dense = nn.Parameter(torch.zeros(5, 8))
        self.blur = nn.Buffer(torch.zeros(2, 2, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        value = conv2d(conv2d(image, self.kernel), self.kernel)
        value = conv2d(value, self.blur)
        return linear(value.flatten(1), self.dense)


def test_functions_and_every_use_of_shared_weights_count_and_fixed_filters_do_not() -> None:
    assert of(Functions(), 2, 6, 6) == 3


class Product(nn.Module):
    """A product of two activations, as attention makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    def forward(self, image: Tensor) -> Tensor:
        value = image.flatten(1, 2)
        return self.query(value) @ self.key(value).transpose(1, 2)


def test_a_product_without_parameters_adds_nothing() -> None:
    assert of(Product(), 1, 3, 4) == 2


def test_writing_in_place_keeps_the_depth() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(1, 1, 1))
    assert of(net, 1, 3, 3) == 2


class Dead(nn.Module):
    """Four layers of which one is called."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))

    def forward(self, image: Tensor) -> Tensor:
        value = image.flatten(1)
        return self.layers[0](value)


def test_layers_that_are_not_called_do_not_count() -> None:
    assert of(Dead(), 1, 1, 3) == 1


def test_a_tensor_that_has_the_number_of_a_dead_one_begins_anew() -> None:
    with ghost(nn.Linear(2, 2), "eval") as double:
        paths = Paths(double)
        one, other = torch.empty(3), torch.empty(3)
        paths.depths[id(one)] = (weakref.ref(one), 7)
        paths.depths[id(other)] = (weakref.ref(one), 7)
        assert (paths._depth(one), paths._depth(other)) == (7, 0)
