from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Any

import pytest
import torch
import zoo
from exports import cpu
from torch import Tensor, nn

from cnnctl.errors import ConfigError, DataError, UsageError
from cnnctl.nets.segmenter import Segmenter
from cnnctl.scoring import tiles
from cnnctl.scoring.scorer import Eager, Scorer
from cnnctl.scoring.tiles import Box

CLASSES = ("sky", "tree", "house", "road")
SMALL: dict[str, Any] = {"widths": [3, 4, 5]}
WAYS = ("nearest", "bilinear", "bicubic", "transposed", "unpool")


class File:
    """Any scorer of whole images, as an exported file is one; it keeps the sizes it has seen."""

    def __init__(self, inner: Scorer) -> None:
        self.inner = inner
        self.classes = inner.classes
        self.seen: list[tuple[int, int]] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append((images.shape[2], images.shape[3]))
        return self.inner(images)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor | None:
        return self.inner.loss(logits, labels)


class Gated(nn.Module):
    """Every pixel times the mean over the image."""

    def forward(self, value: Tensor) -> Tensor:
        return value * value.mean((2, 3), keepdim=True)


class Stretching(nn.Module):
    """Every second pixel, and the way up to whatever size the image has."""

    def forward(self, value: Tensor) -> Tensor:
        size = value.shape[-2:]
        return nn.functional.interpolate(value[:, :, ::2, ::2], size, mode="bilinear")


class Any2d(Segmenter):
    """Layers on images of any size."""

    stride = 2

    def __init__(self, *layers: nn.Module) -> None:
        named = OrderedDict((f"l{number}", layer) for number, layer in enumerate(layers))
        super().__init__(named, "torch")

    def side(self, length: int) -> int:
        return length


@cache
def settings() -> tuple[Any, Any]:
    return cpu("model=unet_small", "data=shapes")


def eager(name: str, **changes: Any) -> Eager:
    """A small net whose batch norms have seen images; a new one leaves them as they are."""
    train, device = settings()
    torch.manual_seed(0)
    net = zoo.build(name, (3, 64, 64), len(CLASSES), **SMALL | changes)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(2, 3, 32, 32) * 2 + 1)
    return Eager(net, train, CLASSES, device)


def of_layers(*layers: nn.Module) -> Eager:
    train, device = settings()
    torch.manual_seed(0)
    return Eager(Any2d(nn.Conv2d(3, 4, 3, padding=1), *layers), train, CLASSES, device)


def images(height: int, width: int, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    size = (count, 3, height, width)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


def net(scorer: Eager) -> Segmenter:
    assert isinstance(scorer.net, Segmenter)
    return scorer.net


def near(found: Tensor, wanted: Tensor) -> None:
    most = float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, atol=1e-5 * most, rtol=0)


@pytest.mark.parametrize("side", [4, 30, 64])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_papers_unet_says_of_tiles_what_it_says_of_the_image(norm: str, side: int) -> None:
    scorer, given = eager("unet", norm=norm), images(75, 98)
    near(tiles.tiled(scorer, side, net(scorer))(given), scorer(given))


@pytest.mark.parametrize("way", WAYS)
def test_so_does_a_padded_unet_whatever_its_way_up(way: str) -> None:
    scorer, given = eager("unet_same", upsample=way), images(83, 106, 2)
    near(tiles.tiled(scorer, 24, net(scorer))(given), scorer(given))


@pytest.mark.parametrize("way", ["unpool", "bilinear"])
def test_so_does_segnet_on_sides_that_its_pools_round_up(way: str) -> None:
    stages = [["conv3-3", "conv3-3"], ["conv3-4"]]
    train, device = settings()
    torch.manual_seed(1)
    made = zoo.build("segnet", (3, 32, 32), len(CLASSES), stages=stages, upsample=way)
    scorer, given = Eager(made, train, CLASSES, device), images(61, 75)
    near(tiles.tiled(scorer, 20, net(scorer))(given), scorer(given))


@pytest.mark.parametrize("size", [(1, 1), (2, 90), (70, 3), (17, 16), (5, 41)])
@pytest.mark.parametrize("name", ["unet", "unet_same"])
def test_images_may_be_smaller_than_a_tile_or_its_context(name: str, size: tuple[int, int]) -> None:
    scorer, given = eager(name), images(*size)
    near(tiles.tiled(scorer, 8, net(scorer))(given), scorer(given))


def test_a_tile_that_is_wrong_by_a_pixel_is_seen() -> None:
    scorer, given = eager("unet_same"), images(40, 60)
    made = tiles.tiled(scorer, 16, net(scorer))
    made.before = made.after = 2  # pyright: ignore[reportAttributeAccessIssue] - too little context
    wanted = scorer(given)
    assert float((made(given) - wanted).abs().max()) > 1e-3 * float(wanted.abs().max())


@pytest.mark.parametrize("name", ["unet", "unet_same"])
def test_any_part_of_an_image_can_be_asked_about(name: str) -> None:
    scorer, given = eager(name), images(75, 98)
    made = tiles.Tiled(scorer, 16, net(scorer))
    wanted = scorer(given)
    for top, left, height, width in ((0, 0, 1, 1), (13, 50, 9, 31), (74, 97, 1, 1)):
        found = made.part(given, Box(top, left, height, width))
        near(found, wanted[..., top : top + height, left : left + width])


def test_the_tiles_cover_every_pixel_once_and_begin_at_the_stride() -> None:
    scorer = eager("unet")
    counts = torch.zeros(75, 98)
    for top, left, height, width in tiles.Tiled(scorer, 31, net(scorer)).boxes(75, 98):
        assert (top % 4, left % 4) == (0, 0)
        assert max(height, width) <= 31
        counts[top : top + height, left : left + width] += 1
    assert counts.unique().tolist() == [1]


@pytest.mark.parametrize("name", ["unet", "unet_same"])
def test_an_exported_file_is_shown_tiles_as_well(name: str) -> None:
    scorer, given = eager(name), images(120, 150)
    file = File(scorer)
    near(tiles.tiled(file, 16, net(scorer))(given), scorer(given))
    assert len(file.seen) == 8 * 10
    assert max(max(size) for size in file.seen) < 100


def test_the_net_sees_no_more_than_a_tile_and_its_margin() -> None:
    scorer, sizes = eager("unet"), []
    first = scorer.net[0]
    hook = first.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[-2:]))
    tiles.tiled(scorer, 24, net(scorer))(images(100, 100))
    hook.remove()
    assert max(max(size) for size in sizes) == net(scorer).side(24)


def test_an_image_no_larger_than_a_tile_is_one_pass() -> None:
    scorer = eager("unet_same")
    file = File(scorer)
    given = images(40, 31)
    assert torch.equal(tiles.tiled(file, 40, net(scorer))(given), scorer(given))
    assert file.seen == [(40, 31)]


def test_the_net_is_left_as_it_was() -> None:
    scorer, given = eager("unet"), images(40, 40)
    before = scorer(given)
    tiles.tiled(scorer, 8, net(scorer))(given)
    assert net(scorer).framed
    assert torch.equal(scorer(given), before)


def test_the_reach_of_layers_is_that_of_the_textbook() -> None:
    made = Any2d(nn.Conv2d(3, 4, 5, padding=2), nn.Conv2d(4, 4, 3, padding=2, dilation=2))
    assert tiles.sight(made) == (4, 4)


def test_without_a_side_the_scorer_stays_what_it_is() -> None:
    scorer = eager("unet_same")
    assert tiles.tiled(scorer, None, None) is scorer


def test_classes_and_loss_are_those_of_the_scorer() -> None:
    scorer, given = eager("unet_same"), images(20, 20)
    made = tiles.tiled(scorer, 8, net(scorer))
    logits, masks = scorer(given), torch.ones(1, 1, 20, 20, dtype=torch.uint8)
    assert made.classes == CLASSES
    torch.testing.assert_close(made.loss(logits, masks), scorer.loss(logits, masks))


def test_a_tile_smaller_than_the_stride_is_refused() -> None:
    scorer = eager("unet")
    with pytest.raises(ConfigError, match=r"tile must be 4 or more.*got 3.*tile=4"):
        tiles.tiled(scorer, 3, net(scorer))


@pytest.mark.parametrize("layer", [Gated(), nn.InstanceNorm2d(4)])
def test_a_net_that_sees_the_whole_image_is_refused(layer: nn.Module) -> None:
    scorer = of_layers(layer)
    with pytest.raises(UsageError, match="every pixel of Any2d depends on the whole image"):
        tiles.tiled(scorer, 16, net(scorer))


def test_maps_stretched_over_the_image_are_refused_for_odd_sides_alone() -> None:
    scorer = of_layers(Stretching())
    made, given = tiles.tiled(scorer, 16, net(scorer)), images(40, 52)
    near(made(given), scorer(given))
    with pytest.raises(DataError, match=r"stretches its maps over an image of 51x40.*leave out"):
        made(images(40, 51))


def test_a_net_that_names_one_class_has_no_tiles() -> None:
    scorer = eager("unet")
    with pytest.raises(UsageError, match="tile=64 is there for masks alone"):
        tiles.tiled(scorer, 64, None)


def test_the_like_of_an_exported_net_has_no_weights() -> None:
    train, _ = settings()
    spec = zoo.spec("unet", **SMALL)
    found = tiles.of(File(eager("unet")), spec, train)
    assert found is not None
    assert all(value.is_meta for value in found.parameters())
    assert (found.margin, found.stride) == (net(eager("unet")).margin, 4)
