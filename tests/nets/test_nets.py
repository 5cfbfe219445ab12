from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from zoo import build, count, numbers, outputs

from cnnctl import nets
from cnnctl.errors import NetError

GREY = (1, 32, 32)


def test_lenet5_is_that_of_figure_2_layer_by_layer() -> None:
    net = build("lenet5")
    assert {name: (shape, count(getattr(net, name))) for name, shape in outputs(net, GREY).items()
    } == {
        "c1": ((6, 28, 28), 156), "c1_act": ((6, 28, 28), 0), "s2": ((6, 14, 14), 0),
        "c3": ((16, 10, 10), 2416), "c3_act": ((16, 10, 10), 0), "s4": ((16, 5, 5), 0),
        "c5": ((120, 1, 1), 48120), "c5_act": ((120, 1, 1), 0), "flatten": ((120,), 0),
        "f6": ((84,), 10164), "f6_act": ((84,), 0), "output": ((10,), 850),
    }  # fmt: skip
    assert count(net) == 61_706


def test_mlp_has_one_hidden_layer_of_300() -> None:
    net = build("mlp")
    assert outputs(net, GREY) == {
        "flatten": (1024,),
        "f1": (300,),
        "f1_act": (300,),
        "output": (10,),
    }
    assert count(net) == 310_510


def test_hidden_layers_are_numbered_on() -> None:
    lenet, mlp = build("lenet5", hidden=[84, 20]), build("mlp", hidden=[5, 4, 3])
    assert list(dict(lenet.named_children()))[-5:] == ["f6", "f6_act", "f7", "f7_act", "output"]
    assert outputs(mlp, GREY)["f3_act"] == (3,)
    assert outputs(build("mlp", hidden=[]), GREY) == {"flatten": (1024,), "output": (10,)}


def test_larger_images_and_colours_reach_the_dense_layers() -> None:
    shapes = outputs(build("lenet5", shape=(3, 48, 40)), (3, 48, 40))
    assert shapes["c5"] == (120, 5, 3)
    assert shapes["output"] == (10,)
    assert count(build("lenet5", shape=(3, 48, 40)).c5) == 48_120


@pytest.mark.parametrize(
    ("activation", "kind"),
    [("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("relu", nn.ReLU), ("leaky_relu", nn.LeakyReLU)],
)
@pytest.mark.parametrize("name", ["lenet5", "mlp"])
def test_the_activation_stands_after_every_layer_but_the_last(name, activation, kind) -> None:
    layers = list(build(name, activation=activation))
    for layer, following in pairwise(layers):
        assert isinstance(following, kind) == isinstance(layer, nn.Conv2d | nn.Linear)
    assert isinstance(layers[-1], nn.Linear)


@pytest.mark.parametrize(("pool", "expected"), [("avg", 2.5), ("max", 4.0)])
def test_the_pool_is_the_one_of_the_spec(pool, expected) -> None:
    square = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    net = build("lenet5", pool=pool)
    assert net.s2(square).item() == expected
    assert net.s4(square).item() == expected


@pytest.mark.parametrize(
    ("size", "layer", "sum_"),
    [
        (4, "c1", "(4 − 5)/1 + 1 = 0"),
        (13, "c3", "(4 − 5)/1 + 1 = 0"),
        (31, "c5", "(4 − 5)/1 + 1 = 0"),
        (5, "s2", "(1 − 2)/2 + 1 = 0.5"),
    ],
)
def test_an_image_too_small_names_the_layer(size, layer, sum_) -> None:
    with pytest.raises(NetError) as caught:
        build("lenet5", shape=(1, size, size))
    text = f"a {size}x{size} image is too small for layer '{layer}': {sum_}"
    assert str(caught.value) == f"{text} (use larger images: data.size=…)"


def test_building_on_meta_allocates_nothing() -> None:
    with torch.device("meta"):
        net = build("mlp", hidden=[1_000_000, 1_000_000])
    assert {parameter.device.type for parameter in net.parameters()} == {"meta"}
    assert count(net) == 1_025_000_000 + 1_000_001_000_000 + 10_000_010


def test_looking_for_the_size_of_the_features_changes_no_weight() -> None:
    torch.manual_seed(3)
    net = build("lenet5")
    torch.manual_seed(3)
    plain = [
        nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.Conv2d(16, 120, 5),
        nn.Linear(120, 84), nn.Linear(84, 10),
    ]  # fmt: skip
    expected = [parameter for layer in plain for parameter in layer.parameters()]
    for got, wanted in zip(net.parameters(), expected, strict=True):
        assert torch.equal(got, wanted)


def test_an_unknown_family_is_named_with_the_known_ones() -> None:
    found, problems = nets.read_spec(numbers("lenet5") | {"family": "lenett"})
    assert found is None
    (problem,) = problems
    assert (
        problem.message == f"model.family must be one of {', '.join(nets.FAMILIES)}, got 'lenett'"
    )
    assert problem.hint == "did you mean 'lenet'?"


def test_every_wrong_number_of_a_net_is_told_at_once() -> None:
    wrong = {"kernel": 0, "maps": [6, 16], "pool": "mean", "depth": 5}
    found, problems = nets.read_spec(numbers("lenet5") | wrong)
    assert found is None
    assert sorted(str(problem.key) for problem in problems) == [
        "model.depth", "model.kernel", "model.maps", "model.pool",
    ]  # fmt: skip


def test_a_net_with_a_stem_for_small_images_offers_it() -> None:
    with pytest.raises(NetError) as caught:
        build("alexnet", shape=(3, 32, 32))
    text = "a 32x32 image is too small for layer 'pool2': (2 − 3)/2 + 1 = 0.5"
    assert caught.value.message == text
    assert caught.value.hint == "use larger images: data.size=…, or model.small_input=true"
    with pytest.raises(NetError) as caught:
        build("alexnet", shape=(3, 8, 8), small_input=True)
    assert caught.value.hint == "use larger images: data.size=…"


def test_a_slice_of_a_net_keeps_the_names() -> None:
    part = build("lenet5")[:3]
    assert type(part) is nn.Sequential
    assert [name for name, _ in part.named_children()] == ["c1", "c1_act", "s2"]
    assert isinstance(build("lenet5")[-1], nn.Linear)
