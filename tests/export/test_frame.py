from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import zoo
from torch.nn.functional import max_pool2d, max_unpool2d

from cnnctl.export.frame import Frame, Normalise, Restore, Spread, unpools
from cnnctl.mirror import mirrored
from cnnctl.nets.upsample import Unpool

SIZES = ((1, 1), (1, 7), (3, 2), (16, 17), (40, 91), (100, 4))


def small(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build(name, (3, 64, 64), 4, widths=[3, 4, 5], **changes).eval()


def test_normalised_images_become_intensities_again() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    numbers = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
    found = Restore(*numbers)(Normalise(*numbers)(images))
    torch.testing.assert_close(found, images / 255)
    mean, std = (np.array(one)[:, None, None] for one in numbers)
    values = torch.randn(2, 3, 4, 5)
    np.testing.assert_allclose(Restore(*numbers)(values), values.numpy() * std + mean, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_borders_are_those_of_numpy(size: tuple[int, int]) -> None:
    """U-Net of three levels: 92 pixels in the paper, 20 here, and sides of 4n."""
    image = torch.arange(size[0] * size[1]).view(1, 1, *size).float()
    found = Frame(20, 44, 4)(image)
    more = [44 + 4 * max(0, -(-(length - 4) // 4)) - 20 - length for length in size]
    borders = ((20, more[0]), (20, more[1]))
    wanted = np.pad(image[0, 0].numpy(), borders, mode="reflect")
    assert np.array_equal(found[0, 0].numpy(), wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["unet", "unet_same"])
def test_an_image_is_framed_as_the_net_frames_it(name: str, size: tuple[int, int]) -> None:
    net, image = small(name), torch.rand(2, 3, *size)
    frame = Frame(net.margin, net.side(1), net.stride)
    wanted = mirrored(image, net.margin, *(net.side(length) for length in size))
    assert torch.equal(frame(image), wanted)
    with torch.no_grad():
        assert torch.equal(frame.cut(net.maps(frame(image)), image), net(image))


def test_bytes_become_what_training_sees() -> None:
    image = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    mean, std = (0.2, 0.5, 0.9), (0.1, 0.25, 0.5)
    pixels = image.numpy().transpose(0, 2, 3, 1) / 255
    wanted = ((pixels - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(Normalise(mean, std)(image).numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_values_go_back_to_where_they_were_the_largest() -> None:
    value = torch.randn(2, 3, 8, 10)
    pooled, places = max_pool2d(value, 2, return_indices=True)
    assert torch.equal(Spread()(pooled, places), max_unpool2d(pooled, places, 2))


@pytest.mark.parametrize("size", [(7, 9), (1, 5), (8, 3)])
def test_so_they_do_in_maps_that_a_pool_has_rounded_up(size: tuple[int, int]) -> None:
    value = torch.randn(2, 3, *size)
    pooled, places = max_pool2d(value, 2, ceil_mode=True, return_indices=True)
    wanted = max_unpool2d(pooled, places, 2, output_size=list(size))
    assert torch.equal(Spread()(pooled, places, size), wanted)
    assert torch.equal(Unpool()(pooled, places, size), wanted)


def test_every_unpooling_of_a_net_is_replaced_and_nothing_else() -> None:
    net, image = small("unet_same", upsample="unpool"), torch.rand(1, 3, 24, 40)
    with torch.no_grad():
        before = net(image)
    kinds = [type(layer) for layer in net.modules()]
    unpools(net)
    unpools(net)
    changed = [type(layer) for layer in net.modules()]
    assert Unpool in kinds
    assert changed == [Spread if kind is Unpool else kind for kind in kinds]
    with torch.no_grad():
        assert torch.equal(net(image), before)
