from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.nn.functional import conv2d, unfold
from zoo import build, count, on_meta, outputs, refused

from cnnctl.errors import NetError
from cnnctl.nets.cifar_fast import EPS, TOGETHER, Whiten

REFERENCE = yaml.safe_load(Path(__file__).with_name("reference.yaml").read_text(encoding="utf-8"))
COLOUR = (3, 32, 32)


def pictures(images: int = 300, channels: int = 3, size: int = 16) -> torch.Tensor:
    """Neighbours and channels alike, as in photos: noise, blurred, and a share of the others."""
    generator = torch.Generator().manual_seed(images)
    noise = torch.randn(images, channels, size + 2, size + 2, generator=generator)
    blurred = nn.functional.avg_pool2d(noise, 3, 1) * 3
    return blurred + 0.5 * blurred.roll(1, 1)


def covariance(patches: torch.Tensor) -> torch.Tensor:
    """(B, values, places) -> (values, values), about 0."""
    flat = patches.double().transpose(0, 1).flatten(1)
    return flat @ flat.T / flat.shape[1]


def test_layer_by_layer_and_its_count_by_arithmetic() -> None:
    net = on_meta("cifar_fast")
    found = {
        name: (*shape, count(getattr(net, name)))
        for name, shape in outputs(net, COLOUR).items()
        if not name.endswith("_act")
    }
    assert found == {
        "whiten": (24, 31, 31, 24),
        "conv1_1": (64, 31, 31, 24 * 64 * 9), "pool1": (64, 15, 15, 0),
        "conv1_1_norm": (64, 15, 15, 128),
        "conv1_2": (64, 15, 15, 64 * 64 * 9), "conv1_2_norm": (64, 15, 15, 128),
        "conv2_1": (256, 15, 15, 64 * 256 * 9), "pool2": (256, 7, 7, 0),
        "conv2_1_norm": (256, 7, 7, 512),
        "conv2_2": (256, 7, 7, 256 * 256 * 9), "conv2_2_norm": (256, 7, 7, 512),
        "conv3_1": (256, 7, 7, 256 * 256 * 9), "pool3": (256, 3, 3, 0),
        "conv3_1_norm": (256, 3, 3, 512),
        "conv3_2": (256, 3, 3, 256 * 256 * 9), "conv3_2_norm": (256, 3, 3, 512),
        "last_pool": (256, 1, 1, 0), "flatten": (256, 0), "fc": (10, 2560), "scale": (10, 0),
    }  # fmt: skip
    assert count(net) == sum(shape[-1] for shape in found.values())
    assert count(net) == REFERENCE["cifar_fast"]["params"]
    assert round(count(net) / 1e6, 2) == 1.97


def test_the_directions_are_a_buffer_that_is_saved_and_does_not_learn() -> None:
    net = build("cifar_fast", widths=[4])
    assert [name for name, _ in net.whiten.named_parameters()] == ["bias"]
    assert net.state_dict()["whiten.weight"].shape == (24, 3, 2, 2)
    net.prepare(pictures())
    other = build("cifar_fast", widths=[4])
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.whiten.weight, net.whiten.weight)


@pytest.mark.parametrize("init", ["torch", "he", "gaussian"])
def test_until_it_has_seen_images_it_takes_the_pixels_themselves(init) -> None:
    net = build("cifar_fast", widths=[4], init=init)
    images = pictures(2, 3, 8)
    seen = net.whiten(images)
    patches = unfold(images, 2).view(2, 12, 7, 7)
    assert torch.equal(seen, torch.cat((patches, -patches), 1))


@pytest.mark.parametrize(("channels", "kernel"), [(3, 2), (1, 2), (3, 3), (1, 1)])
def test_patches_are_white_behind_it_and_come_with_both_signs(channels, kernel) -> None:
    layer, images = Whiten(channels, kernel), pictures(TOGETHER + 50, channels)
    layer.reset()
    layer.learn(images)
    seen = layer(images).flatten(2).detach()
    half = channels * kernel**2
    assert seen.shape[1] == 2 * half
    torch.testing.assert_close(seen[:, :half], -seen[:, half:])
    found = covariance(seen[:, :half])
    before = covariance(unfold(images, kernel))
    variances = torch.linalg.eigvalsh(before).flip(0)
    torch.testing.assert_close(found.diagonal(), variances / (variances + EPS), rtol=1e-4, atol=0)
    assert float((found - found.diagonal().diag()).abs().max()) < 1e-3


def test_the_strongest_direction_comes_first_and_a_flat_one_stays_small() -> None:
    flat = torch.ones(10, 1, 8, 8) * torch.linspace(-2, 2, 10).view(-1, 1, 1, 1)
    layer = Whiten(1, 2)
    layer.reset()
    layer.learn(flat)
    first = layer.weight[0].flatten()
    torch.testing.assert_close(first.abs(), first.abs().mean().expand(4))
    assert float(first.abs().mean()) < 1
    sizes = layer.weight[:4].flatten(1).norm(dim=1)
    torch.testing.assert_close(sizes[1:], torch.full((3,), EPS**-0.5), rtol=1e-3, atol=0)


def test_what_it_learns_depends_on_the_images_alone() -> None:
    images, layers = pictures(40), [Whiten(3, 2) for _ in range(2)]
    for layer in layers:
        layer.reset()
        layer.learn(images)
    assert torch.equal(layers[0].weight, layers[1].weight)
    layers[1].learn(images[:20])
    assert not torch.equal(layers[0].weight, layers[1].weight)


def test_a_grey_image_has_patches_of_four_values() -> None:
    net = build("cifar_fast", (1, 32, 32), widths=[4])
    assert tuple(net.whiten.weight.shape) == (8, 1, 2, 2)
    net.prepare(pictures(5, 1, 32))
    assert net(torch.randn(2, 1, 32, 32)).shape == (2, 10)


def test_convolutions_start_with_the_maps_they_are_given() -> None:
    net = build("cifar_fast", widths=[32, 8])
    maps = torch.randn(2, 24, 6, 6)
    found = net.conv1_1(maps)
    torch.testing.assert_close(found[:, :24], maps)
    assert not torch.equal(found[:, 24:32], torch.zeros_like(found[:, 24:32]))
    narrow = net.conv2_1(torch.randn(2, 32, 6, 6))
    assert narrow.shape == (2, 8, 6, 6)
    plain = build("cifar_fast", widths=[32, 8], identity=False)
    assert not torch.allclose(plain.conv1_1(maps)[:, :24], maps, atol=0.1)


def test_the_logits_are_those_of_the_last_layer_times_a_factor() -> None:
    net = build("cifar_fast", widths=[8], scale=0.25).eval()
    images = torch.randn(2, *COLOUR)
    assert torch.equal(net(images), net[:-1](images) * 0.25)
    assert net.fc.bias is None


def test_a_step_moves_the_bias_and_not_the_directions() -> None:
    net = build("cifar_fast", widths=[8])
    images = pictures(8, 3, 32)
    net.prepare(images)
    before = net.whiten.weight.clone()
    net.loss(net(images), torch.arange(8)).backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert torch.equal(net.whiten.weight, before)
    assert int(net.whiten.bias.count_nonzero()) > 0
    expected = conv2d(images, before, net.whiten.bias)
    torch.testing.assert_close(net.whiten(images), expected)


def test_without_a_norm_the_convolutions_have_a_bias() -> None:
    net = on_meta("cifar_fast", norm="none")
    assert not any("norm" in name for name, _ in net.named_children())
    assert count(net) == 1_972_504 - 2 * 1152 + 1152


def test_larger_images_leave_more_to_the_last_layer() -> None:
    net = on_meta("cifar_fast", (3, 64, 64))
    assert net.fc.in_features == 256 * 2 * 2
    with pytest.raises(NetError, match=r"^a 20x20 image is too small for layer 'last_pool': "):
        on_meta("cifar_fast", (3, 20, 20))


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"whiten": 0}, "model.whiten must be at least 1, got 0"),
     ({"scale": 0}, "model.scale must be above 0, got 0"),
     ({"momentum": 2}, "model.momentum must be at most 1, got 2"),
     ({"widths": [64, 0]}, "model.widths must be at least 1, got [64, 0]")],
)  # fmt: skip
def test_a_wrong_number_is_told_in_one_line(changes, said) -> None:
    assert refused("cifar_fast", **changes) == [said]
