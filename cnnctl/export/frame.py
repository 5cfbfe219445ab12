"""What a net for masks gets around it in a file: any size in, mirrored borders, masks as large.

The sizes are computed in the graph, and so are the places of the mirrored pixels: as in
`preprocess`, everything is counted from a buffer, so that the file runs on any device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cnnctl.export.preprocess import WHITE, larger
from cnnctl.nets.upsample import TWICE, Unpool


class Normalise(nn.Module):
    """uint8 (B, C, H, W) -> float32, less the mean, by the deviation of intensities in 0..1."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        deviation = torch.tensor(std) * WHITE
        self.register_buffer("scale", (1 / deviation).view(1, -1, 1, 1))
        shift = -torch.tensor(mean) * WHITE / deviation
        self.register_buffer("shift", shift.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """As said above."""
        return images.float() * self.scale + self.shift


class Restore(nn.Module):
    """What `Normalise` gives (B, C, H, W) -> intensities, of an image in 0..1."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(std).view(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(mean).view(1, -1, 1, 1))

    def forward(self, values: Tensor) -> Tensor:
        """As said above."""
        return values * self.scale + self.shift


class Frame(nn.Module):
    """(B, C, H, W) of any size -> (B, C, H', W'), completed by mirror images at the edges.

    `margin` pixels before, and so many behind that the sides are `least` + k·`stride` and the maps
    of the net, which lack `margin` pixels at each edge, cover the image (`cnnctl.mirror`).
    """

    one: Tensor

    def __init__(self, margin: int, least: int, stride: int) -> None:
        super().__init__()
        self.margin = margin
        self.least = least
        self.stride = stride
        self.register_buffer("one", torch.ones(1, dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        """As said above."""
        height, width = images.shape[-2:]
        return images.index_select(2, self.places(height)).index_select(3, self.places(width))

    def cut(self, maps: Tensor, images: Tensor) -> Tensor:
        """Of maps (B, K, H'', W'') the part of images (B, C, H, W).

        By their places: a slice would make torch.export ask which of the two is larger.
        """
        height, width = images.shape[-2:]
        return maps.index_select(2, self.first(height)).index_select(3, self.first(width))

    def first(self, count: int) -> Tensor:
        """The first `count` places, int64 (count,)."""
        return self.one.expand(count).cumsum(0) - 1

    def places(self, length: int) -> Tensor:
        """Which of `length` pixels stands at each place, int64 (side,)."""
        covered = self.least - 2 * self.margin
        more = (larger(length, covered) - covered + self.stride - 1) // self.stride
        side = self.least + self.stride * more
        period = self.one * larger(2 * (length - 1), 1)
        found = (self.first(side) - self.margin).remainder(period)
        return torch.minimum(found, period - found)


class Spread(Unpool):
    """`Unpool` by comparing places: exporters have no unpooling, or one of a fixed size."""

    one: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("one", torch.ones(1, dtype=torch.int64))

    def forward(
        self, value: Tensor, places: Tensor, size: tuple[int, int] | None = None
    ) -> Tensor:  # fmt: skip
        """As `Unpool` has it."""
        height, width = size or (TWICE * value.shape[2], TWICE * value.shape[3])
        down, right = (self.one.expand(length).cumsum(0) - 1 for length in (height, width))
        values, chosen = _doubled(value), _doubled(places)
        if size is not None:  # by places, as in `Frame.cut`
            values, chosen = (
                one.index_select(2, down).index_select(3, right) for one in (values, chosen)
            )
        return torch.where(chosen == down[:, None] * width + right, values, 0)


def _doubled(value: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W): every value four times."""
    batch, channels, height, width = value.shape
    wide = value[:, :, :, None, :, None].expand(-1, -1, -1, TWICE, -1, TWICE)
    return wide.reshape(batch, channels, TWICE * height, TWICE * width)


def unpools(net: nn.Module) -> None:
    """Replace every `Unpool` in a net."""
    for name, layer in list(net.named_modules()):
        if isinstance(layer, Unpool) and not isinstance(layer, Spread):
            above, _, last = name.rpartition(".")
            setattr(net.get_submodule(above), last, Spread())
