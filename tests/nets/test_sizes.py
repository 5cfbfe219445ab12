from __future__ import annotations

import math
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from zoo import on_meta

from cnnctl.errors import ConfigError, NetError
from cnnctl.nets import meta
from cnnctl.nets.sizes import SLIDING, remainders, steps, walk

SMALL = st.integers(1, 4)


def chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def pools(count: int) -> nn.Sequential:
    return chain(**{f"pool{number}": nn.MaxPool2d(2) for number in range(1, count + 1)})


@settings(max_examples=50, deadline=None)
@given(st.tuples(SMALL, SMALL), SMALL, st.integers(0, 2), st.integers(1, 3), st.integers(1, 20))
def test_the_formula_rounded_down_is_what_torch_does(kernel, stride, padding, dilation, size):
    layers = [
        nn.Conv2d(1, 1, kernel, stride, padding, dilation, device="meta"),
        nn.MaxPool2d(kernel, stride, min(padding, *(side // 2 for side in kernel)), dilation),
        nn.AvgPool2d(kernel, (stride, 1), 0),
    ]
    image = torch.empty(1, 1, size, size + 3, device="meta")
    for layer in layers:
        left = [steps(layer, side, axis)[0] for axis, side in enumerate(image.shape[2:])]
        if min(left) >= 1:
            assert layer(image).shape[2:] == tuple(map(math.floor, left))
        else:
            with pytest.raises(RuntimeError, match=r"(?i)too small|than actual input"):
                layer(image)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([(3, 3), (1, 5), (3, 1)]), st.integers(1, 2), st.integers(5, 20))
def test_padding_same_keeps_every_size_and_valid_is_none(kernel, dilation, size) -> None:
    same, valid, none = (
        nn.Conv2d(1, 1, kernel, dilation=dilation, padding=padding, device="meta")
        for padding in ("same", "valid", 0)
    )
    assert same(torch.empty(1, 1, size, size, device="meta")).shape[2:] == (size, size)
    for axis in (0, 1):
        assert steps(same, size, axis)[0] == size
        assert steps(valid, size, axis) == steps(none, size, axis)


@pytest.mark.parametrize(
    ("layer", "size", "axis", "text"),
    [
        (nn.Conv2d(3, 6, 5), 32, 0, "(32 − 5)/1 + 1 = 28"),
        (nn.Conv2d(3, 6, 5, padding=2), 32, 0, "(32 + 4 − 5)/1 + 1 = 32"),
        (nn.Conv2d(3, 6, 3, 3), 7, 0, "(7 − 3)/3 + 1 = 2.333"),
        (nn.Conv2d(3, 6, 11, 4), 224, 0, "(224 − 11)/4 + 1 = 54.25"),
        (nn.Conv2d(3, 6, 3, dilation=2), 9, 0, "(9 − 5)/1 + 1 = 5"),
        (nn.Conv2d(3, 6, (1, 7), (1, 2), (0, 3)), 8, 0, "(8 − 1)/1 + 1 = 8"),
        (nn.Conv2d(3, 6, (1, 7), (1, 2), (0, 3)), 8, 1, "(8 + 6 − 7)/2 + 1 = 4.5"),
        (nn.Conv2d(3, 6, 3, padding="same"), 8, 0, "(8 + 2 − 3)/1 + 1 = 8"),
        (nn.Conv2d(3, 6, 4, padding="same"), 8, 0, "(8 + 3 − 4)/1 + 1 = 8"),
        (nn.MaxPool2d(2), 1, 0, "(1 − 2)/2 + 1 = 0.5"),
        (nn.AvgPool2d(3, 2, 1), 7, 1, "(7 + 2 − 3)/2 + 1 = 4"),
    ],
)
def test_the_arithmetic_is_shown(layer, size, axis, text) -> None:
    left, shown = steps(layer, size, axis)
    assert shown == text
    assert left == pytest.approx(float(text.rpartition(" ")[2]), abs=5e-4)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((3, 16, 16), "a 16x16 image is too small for layer 'pool5': (1 − 2)/2 + 1 = 0.5"),
        ((3, 32, 7), "a 32x7 image is too small for layer 'pool3': (1 − 2)/2 + 1 = 0.5"),
    ],
)
def test_the_layer_where_nothing_is_left_is_named(shape, text) -> None:
    with pytest.raises(NetError) as caught:
        walk(pools(5), shape)
    assert str(caught.value) == f"{text} (use larger images: data.size=…)"


def test_layers_of_layers_are_named_by_their_place() -> None:
    with pytest.raises(NetError, match=r"layer 'stage1\.block1\.conv': \(4 − 5\)/1 \+ 1 = 0 "):
        walk(chain(stage1=chain(block1=chain(conv=nn.Conv2d(3, 6, 5)))), (3, 4, 4))


def test_walking_gives_the_shape_of_the_output() -> None:
    assert walk(pools(2), (3, 9, 32)) == (3, 2, 8)
    assert walk(chain(flatten=nn.Flatten(), fc=nn.Linear(12, 7)), (3, 2, 2)) == (7,)


class Two(nn.Module):
    def forward(self, value: Tensor) -> tuple[Tensor, Tensor]:
        return value, value[:, :1]


def test_of_several_outputs_the_first_counts() -> None:
    assert walk(Two(), (3, 4, 5)) == (3, 4, 5)


def illegal(net: nn.Module, shape: tuple[int, int, int]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        walk(net, shape, strict=True)
    return [str(problem) for problem in caught.value.problems]


def test_strict_names_every_layer_with_a_remainder() -> None:
    start, hint = "model.strict: fractions are illegal, but", "change data.size, or allow rounding"
    assert illegal(pools(3), (3, 11, 14)) == [
        f"{start} pool1: (11 − 2)/2 + 1 = 5.5 ({hint}: model.strict=false)",
        f"{start} pool2: (5 − 2)/2 + 1 = 2.5 ({hint}: model.strict=false)",
        f"{start} pool3: (3 − 2)/2 + 1 = 1.5 ({hint}: model.strict=false)",
    ]


def test_strict_tells_a_layer_that_is_used_twice_once() -> None:
    pool = nn.MaxPool2d(2)
    (told,) = illegal(chain(one=pool, two=pool), (3, 7, 7))
    assert "but one: (7 − 2)/2 + 1 = 3.5 (" in told


def test_strict_is_silent_where_every_size_is_whole() -> None:
    assert walk(pools(3), (3, 16, 8), strict=True) == (3, 2, 1)
    assert walk(pools(3), (3, 17, 9)) == (3, 2, 1)
    net = chain(conv=nn.Conv2d(3, 6, 3, stride=2, padding=1), gap=nn.AdaptiveAvgPool2d(2))
    assert walk(net, (3, 9, 9), strict=True) == (6, 2, 2)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [8, 1])
def test_walking_changes_nothing(training, size) -> None:
    conv, norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
    net = chain(conv=conv, norm=norm, drop=nn.Dropout(), pool=nn.MaxPool2d(2)).train(training)
    values = {name: value.clone() for name, value in net.state_dict().items()}
    places = {name: value.data_ptr() for name, value in net.state_dict().items()}
    generator = torch.get_rng_state()
    if size == 1:
        with pytest.raises(NetError):
            walk(net, (3, size, size))
    else:
        walk(net, (3, size, size))
    assert torch.equal(torch.get_rng_state(), generator)
    for name, value in net.state_dict().items():
        assert torch.equal(value, values[name])
        assert value.data_ptr() == places[name]
    for layer in net.modules():
        assert layer.training == training
        assert not layer._forward_pre_hooks
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_every_kind_that_slides_is_watched() -> None:
    for layer in (nn.Conv2d(3, 3, 3), nn.MaxPool2d(3), nn.AvgPool2d(3)):
        assert isinstance(layer, SLIDING)
        with pytest.raises(NetError, match=r"a 2x2 image is too small for layer 'only'"):
            walk(chain(only=layer), (3, 2, 2))


def test_the_remainders_are_told_without_refusing_them() -> None:
    assert remainders(pools(3), (3, 11, 14)) == {
        "pool1": "(11 − 2)/2 + 1 = 5.5",
        "pool2": "(5 − 2)/2 + 1 = 2.5",
        "pool3": "(3 − 2)/2 + 1 = 1.5",
    }
    assert remainders(pools(3), (3, 16, 8)) == {}
    assert remainders(pools(2), (3, 8, 9)) == {"pool1": "(9 − 2)/2 + 1 = 4.5"}


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 3))
def test_strict_refuses_exactly_the_layers_with_a_remainder(height, width, count) -> None:
    net, shape = pools(count), (3, height, width)
    found = remainders(net, shape)
    wanted = [
        f"pool{layer}" for layer in range(1, count + 1)
        if height // 2 ** (layer - 1) % 2 or width // 2 ** (layer - 1) % 2
    ]  # fmt: skip
    assert list(found) == wanted
    if wanted:
        for told, (name, text) in zip(illegal(net, shape), found.items(), strict=True):
            assert f" {name}: {text} (" in told
    else:
        assert walk(net, shape, strict=True) == walk(net, shape)


def test_the_224_pixels_of_alexnet_leave_remainders_and_227_do_not() -> None:
    assert remainders(on_meta("alexnet", (3, 224, 224)), (3, 224, 224)) == {
        "conv1": "(224 − 11)/4 + 1 = 54.25",
        "pool1": "(54 − 3)/2 + 1 = 26.5",
        "pool2": "(26 − 3)/2 + 1 = 12.5",
        "pool3": "(12 − 3)/2 + 1 = 5.5",
    }
    assert remainders(on_meta("alexnet"), (3, 227, 227)) == {}


def test_remainders_of_images_that_are_too_small_are_an_error() -> None:
    with pytest.raises(NetError, match=r"^a 3x3 image is too small for layer 'pool2'"):
        remainders(pools(2), (3, 3, 3))


def test_sizes_are_walked_by_the_rules_for_tensors_without_numbers(monkeypatch) -> None:
    asked, run = [], meta.run

    def noted(func, args, kwargs):
        asked.append(func)
        return run(func, args, kwargs)

    monkeypatch.setattr(meta, "run", noted)
    walk(chain(conv=nn.Conv2d(3, 4, 3), pool=nn.MaxPool2d(2)), (3, 8, 8))
    aten = torch.ops.aten
    assert {aten.convolution.default, aten.max_pool2d_with_indices.default} <= set(asked)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_a_net_in_another_number_format_is_walked_too(kind: torch.dtype) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).to(kind)
    assert walk(net, (1, 9, 7)) == (2, 7, 5)
