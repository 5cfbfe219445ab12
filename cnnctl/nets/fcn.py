"""Fully convolutional networks: FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer, Darrell 2015).

VGG whose dense layers are convolutions (section 3.1), a score of each class for each place
(section 4.1), and ways up that add the scores of finer maps (section 4.2, figure 3). The layers
are named as in VGG up to fc7, then as in the authors' files: score_fr, upscore2, score_pool4,
upscore_pool4, score_pool3, and upscore, the last way up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnnctl.config.fields import key
from cnnctl.errors import Problem
from cnnctl.nets import vgg
from cnnctl.nets.blocks import Layers, unit
from cnnctl.nets.segmenter import Segmenter
from cnnctl.nets.upsample import Interpolation, Upsample, bilinear, resized


class Grid(NamedTuple):
    """Where the places of a map lie, in pixels of the image: `first` is the middle of place 0."""

    step: float
    first: float

    def slid(self, kernel: int, stride: int = 1, padding: int = 0) -> Grid:
        """Behind a convolution or a pool."""
        return Grid(self.step * stride, self.first + ((kernel - 1) / 2 - padding) * self.step)

    def raised(self, factor: int, kernel: int) -> Grid:
        """Behind a way up that spreads each place over `kernel` places."""
        step = self.step / factor
        return Grid(step, self.first - (kernel - 1) / 2 * step)

    def before(self, other: Grid) -> int:
        """How many places it begins before a map of the same step."""
        return round((other.first - self.first) / self.step)


PIXELS = Grid(1, 0)


@dataclass(frozen=True, kw_only=True)
class Spec(vgg.Spec):
    """Those of VGG, and those of sections 4.1 and 4.2."""

    body: str | None = key("torchvision/NAME: the classifier whose weights fit up to fc7")
    padding: int = key("zeros around the image, in the first convolution", min=0)
    field: int = key("side of the maps that the first dense layer had: its kernel", min=1)
    skips: int = key("maps before the last pool's whose scores are added: 32s, 16s, 8s", min=0)
    upsample: Upsample = key("the way up")
    learned: bool = key("the last way up learns, too, not only those before it")

    @property
    def published(self) -> str | None:
        """The classifier that the body is."""
        return self.body

    def problems(self) -> Iterator[Problem]:
        """Ways up that are none, and padding that leaves pixels at the edges without a score."""
        wrong = list(super().problems())
        yield from wrong
        if not self.hidden:
            text = "model.hidden is empty: there is no dense layer to make a convolution of"
            yield Problem(text, "model.hidden=[4096,4096]", "model.hidden")
        if self.skips >= len(self.stages):
            text = f"model.skips must be below the number of stages, got {self.skips}"
            yield Problem(text, f"at most {len(self.stages) - 1}", "model.skips")
        elif self.upsample == "unpool":
            text = (
                f"model.upsample=unpool undoes one 2x2 pool, the last way up here is {_last(self)}"
            )
            yield Problem(text, "model.upsample=transposed, or model=segnet", "model.upsample")
        elif not wrong:
            yield from self._uncovered()
        if self.learned and self.upsample != "transposed":
            text = f"model.learned=true has no effect with model.upsample={self.upsample}"
            yield Problem(text, "model.learned=false", "model.learned")

    def _uncovered(self) -> Iterator[Problem]:
        """With less padding the maps would be smaller than the image, or than each other."""
        *between, last = _ways(self)
        # a pool that rounds up may have up to 2^depth - 1 places less than its scores go back to
        if any(way.crop < 2**depth - 1 for depth, way in enumerate(between, start=1)):
            text = f"model.field={self.field} is too small for scores of {self.skips} pools"
            yield Problem(text, "model.field=5 or more", "model.field")
        elif last.crop < 0:
            text = f"model.padding={self.padding} leaves pixels at the edges without a score"
            least = self.padding - last.crop
            yield Problem(text, f"model.padding={least} or more", "model.padding")


class Way(NamedTuple):
    """A way up: its layer, by how much, which pool's scores it is added to, what is cut before.

    Of the last way `pool` is 0, and its maps are cut to the image.
    """

    name: str
    factor: int
    pool: int
    crop: int


class Fcn(Segmenter):
    """(B, in_channels, H, W) -> logits (B, num_classes, H, W), of any height and width.

    `upsample`: transposed are convolutions of kernel 2f and stride f that start as bilinear
    interpolation; the last stays that, unless `learned` (section 4.3). nearest, bilinear and
    bicubic interpolate the scores by f, which is like it but for the outermost places; there is
    then nothing to learn in any way up.

    Pools round up, as in the authors' framework, so that the maps cover all of the image.
    """

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        layers, widths = _body(spec, shape[0])
        c_in = spec.hidden[-1]
        body = tuple(layers)
        layers["score_fr"] = nn.Conv2d(c_in, num_classes, 1)
        ways = _ways(spec)
        for way in ways:
            fixed = way.pool == 0 and not spec.learned
            layers[way.name] = _way(spec.upsample, way.factor, num_classes, fixed=fixed)
            if way.pool:
                layers[f"score_pool{way.pool}"] = nn.Conv2d(widths[way.pool - 1], num_classes, 1)
        super().__init__(layers, spec.init)
        self.body = body
        self.skips = {f"score_pool{way.pool}": way for way in ways if way.pool}
        self.crop = ways[-1].crop
        self.stride = 2 ** len(spec.stages)
        self._begin()

    def side(self, length: int) -> int:
        """The padding is the paper's own: there is nothing to add."""
        return length

    def maps(self, images: Tensor) -> Tensor:
        """The body, then the ways up with the scores of finer maps."""
        height, width = images.shape[-2:]
        value = images
        kept: dict[int, Tensor] = {}
        pools = {f"pool{way.pool}": way.pool for way in self.skips.values()}
        for name, layer in self.named_children():
            if name in self.skips:
                way = self.skips[name]
                value = value + _cut(layer(kept.pop(way.pool)), way.crop, *value.shape[-2:])
                continue
            value = layer(value)
            if name in pools:
                kept[pools[name]] = value
        return _cut(value, self.crop, height, width)

    @torch.no_grad()
    def _begin(self) -> None:
        """Scores start at 0 (section 4.3), transposed convolutions as interpolation."""
        for name, layer in self.named_children():
            if name.startswith("score_") and isinstance(layer, nn.Conv2d):
                layer.weight.zero_()
                layer.bias.zero_()  # pyright: ignore[reportOptionalMemberAccess] - it has one
            if isinstance(layer, nn.ConvTranspose2d):
                layer.weight.zero_()
                for channel in range(layer.out_channels):
                    layer.weight[channel, channel] = bilinear(layer.stride[0])


def _body(spec: Spec, c_in: int) -> tuple[Layers, list[int]]:
    """VGG up to its last hidden layer, as convolutions, and the channels of each stage."""
    layers: Layers = OrderedDict()
    widths = []
    for number, words in enumerate(spec.stages, start=1):
        stage, c_in = vgg.stage(number, words, c_in, spec.norm, spec.activation)
        layers |= stage
        layers[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=True)
        widths.append(c_in)
    first = next(layer for layer in layers.values() if isinstance(layer, nn.Conv2d))
    first.padding = (spec.padding, spec.padding)
    for number, width in enumerate(spec.hidden, start=len(spec.stages) + 1):
        kernel = 1 if number > len(spec.stages) + 1 else spec.field
        layers |= unit(f"fc{number}", c_in, width, kernel, padding=0, activation=spec.activation)
        if spec.dropout:
            layers[f"fc{number}_drop"] = nn.Dropout(spec.dropout)
        c_in = width
    return layers, widths


def _ways(spec: Spec) -> list[Way]:
    """The ways up with what is cut, so that the middles of places lie on each other.

    With the paper's numbers that is 19 for FCN-32s, 5 and 27 for FCN-16s, 5, 9 and 31 for FCN-8s.
    """
    grid, pools, padding = PIXELS, list[Grid](), spec.padding
    for words in spec.stages:
        for kernel, _ in vgg.kernels(words):
            grid = grid.slid(kernel, padding=kernel // 2 if padding is None else padding)
            padding = None
        grid = grid.slid(2, stride=2)
        pools.append(grid)
    grid = grid.slid(spec.field)
    ways, name = [], "upscore2"
    for pool in range(len(pools) - 1, len(pools) - 1 - spec.skips, -1):
        grid = grid.raised(2, _spread(spec.upsample, 2))
        ways.append(Way(name, 2, pool, pools[pool - 1].before(grid)))
        name = f"upscore_pool{pool}"
    last = _last(spec)
    grid = grid.raised(last, _spread(spec.upsample, last))
    return [*ways, Way("upscore", last, 0, grid.before(PIXELS))]


def _last(spec: Spec) -> int:
    """By how much the last way goes up: 32, 16 or 8."""
    return 2 ** (len(spec.stages) - spec.skips)


def _spread(upsample: Upsample, factor: int) -> int:
    """How many places a place is spread over, around its middle."""
    return 2 * factor if upsample == "transposed" else factor


def _way(upsample: Upsample, factor: int, channels: int, *, fixed: bool) -> nn.Module:
    if upsample != "transposed":
        return resized(upsample, factor)
    if fixed:
        return Interpolation(factor)
    return nn.ConvTranspose2d(channels, channels, 2 * factor, factor, bias=False)


def _cut(value: Tensor, crop: int, height: int, width: int) -> Tensor:
    """So many places of a map, from `crop` on."""
    return value[..., crop : crop + height, crop : crop + width]
