from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    conv2d,
    conv_transpose2d,
    interpolate,
    linear,
    max_pool2d,
    max_unpool2d,
    mse_loss,
    pad,
    relu,
)
from zoo import build, count, on_meta, refused

from cnnctl.audit.step import Setting, measure
from cnnctl.config.learning import Adam
from cnnctl.nets.autoencoder import Autoencoder

KINDS = ("nearest", "bilinear", "bicubic", "transposed", "unpool")
ADAM = Adam(
    name="adam", lr=1e-3, weight_decay=0, scaling="none", reference_batch=1, decay_norms=True,
    layer_decay=None, betas=(0.9, 0.999), eps=1e-8,
)  # fmt: skip


def made(shape: tuple[int, int, int] = (1, 32, 32), **changes: Any) -> Autoencoder:
    torch.manual_seed(0)
    net = build("autoencoder", shape, **changes)
    assert isinstance(net, Autoencoder)
    return net


def by_hand(weights: dict[str, Tensor], image: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Code and result of the net with two levels, written out."""

    def layer(name: str) -> tuple[Tensor, Tensor]:
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    def way_up(value: Tensor, level: int, places: Tensor) -> Tensor:
        if kind == "transposed":
            return conv_transpose2d(value, *layer(f"up{level}"), stride=2)
        value = conv2d(value, *layer(f"up{level}.conv"))
        if kind == "unpool":
            return max_unpool2d(value, places, [2, 2])
        corners = None if kind == "nearest" else False
        return interpolate(value, scale_factor=2, mode=kind, align_corners=corners)

    value = relu(conv2d(image, *layer("down1"), padding=1))
    value, first = max_pool2d(value, 2, return_indices=True)
    value = relu(conv2d(value, *layer("down2"), padding=1))
    value, second = max_pool2d(value, 2, return_indices=True)
    code = linear(value.flatten(1), *layer("bottleneck"))
    value = relu(linear(code, *layer("spread"))).view(value.shape)
    value = relu(conv2d(way_up(value, 2, second), *layer("back2"), padding=1))
    return code, conv2d(way_up(value, 1, first), *layer("final"), padding=1)


@pytest.mark.parametrize("kind", KINDS)
def test_code_and_image_are_those_of_the_layers_written_out(kind: str) -> None:
    net = made((3, 8, 12), widths=(4, 6), code=5, upsample=kind)
    images = torch.randn(2, 3, 8, 12)
    with torch.no_grad():
        code, image = by_hand(dict(net.named_parameters()), images, kind)
        assert torch.equal(net.encode(images), code)
        torch.testing.assert_close(net(images), image)
    assert code.shape == (2, 5)


def test_the_parameters_are_those_of_the_table() -> None:
    conv = [(1, 16, 3), (16, 32, 3), (32, 64, 3), (64, 32, 3), (32, 16, 3), (16, 1, 3)]
    ways = [(64, 64), (32, 32), (16, 16)]
    own = sum(a * b * k * k + b for a, b, k in conv) + (1024 * 30 + 30) + (30 * 1024 + 1024)
    for kind in KINDS:
        area = 4 if kind == "transposed" else 1
        expected = own + sum(a * b * area + b for a, b in ways)
        assert count(on_meta("autoencoder", upsample=kind)) == expected
    assert count(on_meta("autoencoder")) == 114_511


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 21, 13), (2, 5, 40), (3, 1, 1)], ids=str)
def test_images_of_any_size_come_back_as_large_as_they_were(kind: str, shape) -> None:
    net = on_meta("autoencoder", shape, upsample=kind)
    assert net(torch.empty(2, *shape, device="meta")).shape == (2, *shape)


def test_odd_sides_are_completed_by_mirrored_edges_and_cut_off_again() -> None:
    odd, even = made((1, 13, 15), widths=(4, 6)), made((1, 16, 16), widths=(4, 6))
    even.load_state_dict(odd.state_dict())
    images = torch.randn(2, 1, 13, 15)
    whole = pad(images, (0, 1, 0, 3), mode="reflect")
    with torch.no_grad():
        assert torch.equal(odd.encode(images), even.encode(whole))
        assert torch.equal(odd(images), even(whole)[..., :13, :15])


def test_the_code_is_all_that_the_decoder_gets_unless_it_unpools() -> None:
    """Two images with one code come back alike; with unpool the places of the maxima differ."""
    for kind in KINDS:
        net = made(upsample=kind)
        code = dict(net.named_parameters())
        nn.init.zeros_(code["bottleneck.weight"])
        nn.init.ones_(code["bottleneck.bias"])
        one, other = torch.rand(2, 1, 1, 32, 32)
        with torch.no_grad():
            assert torch.equal(net.encode(one), net.encode(other))
            assert torch.equal(net(one), net(other)) is (kind != "unpool")


def test_the_loss_is_the_mean_squared_error_of_all_values() -> None:
    net = made()
    images, outputs = torch.randn(4, 1, 32, 32), torch.randn(4, 1, 32, 32, requires_grad=True)
    loss, expected = net.loss(outputs, images), mse_loss(outputs, images)
    torch.testing.assert_close(loss, expected)
    (found,), (wanted,) = (torch.autograd.grad(one, outputs) for one in (loss, expected))
    torch.testing.assert_close(found, wanted)
    assert net.weight(images) == 4  # of a piece of a batch: its images


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_a_few_images_by_heart(kind: str) -> None:
    net = made((1, 8, 8), widths=(8, 16), code=8, upsample=kind).train()
    quarters = 2 * torch.eye(4).view(4, 1, 2, 2)  # a white square in another corner of each
    images = interpolate(quarters, scale_factor=4)
    rule = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(120):
        loss = net.loss(net(images), images)
        rule.zero_grad()
        loss.backward()
        rule.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * images.var().item() < losses[0]


def test_labels_take_no_memory_beside_the_images() -> None:
    shape, images = (1, 32, 32), 64
    net = on_meta("autoencoder")
    memory = measure(net, shape, Setting(images, ADAM))
    assert memory.batch == images * 32 * 32 * 4
    assert memory.parts["batch"] == memory.batch + 4
    blank = net.blank(torch.empty(2, *shape))
    assert (blank.shape, blank.untyped_storage().nbytes()) == ((2, *shape), 4)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_normalisation_stands_behind_every_convolution_but_the_last(norm: str) -> None:
    names = dict(on_meta("autoencoder", norm=norm).named_children())
    norms = [name for name in names if name.endswith("_norm")]
    assert norms == ["down1_norm", "down2_norm", "down3_norm", "back3_norm", "back2_norm"]
    assert names["back2"].bias is None
    assert names["final"].bias is not None


def test_numbers_that_make_no_net_are_refused() -> None:
    text = "model.widths must have one level or more, got [] (model.widths=[16,32,64])"
    assert refused("autoencoder", widths=[]) == [text]
    assert len(refused("autoencoder", code=0, upsample="linear")) == 2
