from __future__ import annotations

import json
from collections import OrderedDict
from importlib.resources import files

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from zoo import FILES, build, count, on_meta, spec

from cnnctl.audit.forward import Cost, cost, forward
from cnnctl.errors import NetError


def test_the_shipped_table_is_what_is_computed(overwrite: bool) -> None:  # noqa: FBT001 - a fixture
    table = {}
    for name in FILES:
        net = spec(name)
        table[name] = cost(net, num_classes=net.classes, shape=net.input)._asdict()
    shipped = files("cnnctl.nets") / "costs.json"
    text = json.dumps(table, indent=2) + "\n"
    if overwrite:
        shipped.write_text(text, encoding="utf-8")
    assert shipped.read_text(encoding="utf-8") == text


def test_the_costs_of_lenet5_add_up_by_hand() -> None:
    convolutions = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25 + 120 * 16 * 25
    macs = convolutions + 120 * 84 + 84 * 10
    assert cost(spec("lenet5"), num_classes=10, shape=(1, 32, 32)) == Cost(61_706, macs)


def test_the_costs_follow_the_classes_and_the_shape() -> None:
    narrow = cost(spec("mlp", hidden=[7]), num_classes=3, shape=(3, 4, 5))
    assert narrow == Cost(params=60 * 7 + 7 + 7 * 3 + 3, macs=60 * 7 + 7 * 3)


def test_counting_leaves_the_random_state_as_it_was() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    cost(spec("lenet5"), num_classes=10, shape=(1, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.zeros(1).device.type == "cpu"


def test_counting_allocates_nothing() -> None:
    wide = spec("mlp", hidden=[1_000_000, 1_000_000])
    assert cost(wide, num_classes=10, shape=(1, 32, 32)).macs == 1_001_034_000_000


def test_counting_refuses_what_cannot_be_built() -> None:
    with pytest.raises(NetError, match=r"too small for layer 'c1': \(3 − 5\)/1 \+ 1 = -1"):
        cost(spec("lenet5"), num_classes=10, shape=(1, 3, 3))


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("lenet5", 5), ("alexnet", 8), ("vgg11", 11), ("vgg16", 16), ("vgg19", 19), ("mlp", 2),
        ("resnet18", 18), ("resnet50", 50), ("resnet152", 152), ("resnet110", 110), ("plain34", 34),
        ("densenet121", 121), ("densenet201", 201), ("inception_v3", 48), ("mobilenet_v1", 28),
        ("mobilenet_v2", 53), ("xception", 71), ("shufflenet_v1", 50), ("googlenet", 22),
    ],
)  # fmt: skip
def test_the_depth_is_the_number_in_the_name_or_in_the_paper(name, depth) -> None:
    assert forward(on_meta(name), spec(name).input).depth == depth


def chain(*layers: nn.Module) -> nn.Sequential:
    names = [f"{number}_{type(layer).__name__}" for number, layer in enumerate(layers)]
    return nn.Sequential(OrderedDict(zip(names, layers, strict=True)))


@pytest.mark.parametrize(
    ("layers", "values"),
    [
        ([nn.Conv2d(1, 2, 3, padding=1)], [64 + 128]),
        ([nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()], [64 + 128, 64 + 128 + 128]),
        ([nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(inplace=True)], [64 + 128, 64 + 128]),
        (
            [nn.Conv2d(1, 8, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(8, 64, 1)],
            [64 + 512, 64 + 512 + 128, 64 + 128 + 1024],
        ),
        ([nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(128, 3)], [192, 192, 192 + 3]),
    ],
)
def test_the_peak_of_a_chain_is_the_most_of_image_input_and_output(layers, values) -> None:
    assert forward(chain(*layers), (1, 8, 8)).peak == 4 * max(values)


def test_the_peak_of_vgg16_is_that_of_its_widest_maps() -> None:
    image, maps = 3 * 224 * 224, 64 * 224 * 224
    assert forward(on_meta("vgg16"), (3, 224, 224)).peak == 4 * (image + 2 * maps)


def test_a_shortcut_keeps_its_input_alive() -> None:
    class Shortcut(nn.Conv2d):
        def forward(self, image: Tensor) -> Tensor:
            return image + super().forward(super().forward(image))

    net = chain(nn.Conv2d(1, 4, 1), Shortcut(4, 4, 1))
    assert forward(net, (1, 5, 5)).peak == 4 * (25 + 100 + 100 + 100)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 6))
def test_rows_add_up_and_their_fields_grow(widths, size) -> None:
    layers, c_in = [], 3
    for width in widths:
        layers += [nn.Conv2d(c_in, width, 3, padding=1), nn.ReLU()]
        c_in = width
    net = chain(*layers)
    rows = forward(net, (3, size, size)).walk.rows
    assert [row.name for row in rows] == [name for name, _ in net.named_children()]
    assert sum(row.params for row in rows) == count(net)
    for row, layer in zip(rows[::2], layers[::2], strict=True):
        assert row.output == (layer.out_channels, size, size)
        assert row.macs == size * size * layer.weight.numel()
        assert row.weights == layer.weight.numel() == row.params - layer.out_channels
    fields = [row.field.axes[0].size for row in rows if row.field and row.field.axes]
    assert fields == [3 + 2 * (number // 2) for number in range(len(rows))]


def test_the_net_is_afterwards_what_it_was() -> None:
    net = build("mobilenet_v2", (3, 32, 32), 7).train()
    net.conv1_norm.eval()
    net.conv1.weight.requires_grad_(requires_grad=False)
    modes = {name: module.training for name, module in net.named_modules()}
    before = {
        name: (value, value.clone()) for name, value in net.state_dict(keep_vars=True).items()
    }
    torch.manual_seed(5)
    random = torch.get_rng_state()
    forward(net, (3, 32, 32))
    assert {name: module.training for name, module in net.named_modules()} == modes
    for name, value in net.state_dict(keep_vars=True).items():
        assert value is before[name][0]
        assert torch.equal(value, before[name][1])
        assert value.grad is None
    assert not net.conv1.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), random)
    assert all(not module._forward_hooks for module in net.modules())
    assert nn.modules.module._global_forward_hooks == {}
    assert torch.zeros(1).device.type == "cpu"


def test_a_net_that_fails_is_afterwards_what_it_was_as_well() -> None:
    net = chain(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(5)).train()
    with pytest.raises(RuntimeError, match="running_mean should contain 4 elements not 5"):
        forward(net, (3, 8, 8))
    assert all(module.training for module in net.modules())
    assert nn.modules.module._global_forward_hooks == {}


def test_evaluation_skips_what_only_training_has() -> None:
    plain, net = on_meta("googlenet"), on_meta("googlenet", aux=0.3)
    walk = forward(net, (3, 224, 224)).walk
    named = {name for name, _ in net.named_parameters()}
    assert walk.used == {name for name, _ in plain.named_parameters()}
    assert sum(row.params for row in walk.rows) == count(plain)
    assert {name.partition(".")[0] for name in named - walk.used} == {"aux1", "aux2"}
    assert {row.name.partition(".")[0] for row in walk.rows}.isdisjoint({"aux1", "aux2"})
