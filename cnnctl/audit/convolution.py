"""One convolution or pool: its size, its cost, what it sees, and what could stand in its place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnnctl.audit import arithmetic
from cnnctl.audit.arithmetic import Axis, Exact, Pair
from cnnctl.errors import Problem

AXES = ("height", "width")
SHARE = 8  # of the channels are a bottleneck, unless it is told
MOST_THREES = 7  # layers of 3x3 in the place of a larger kernel


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One convolution, transposed convolution or pool, and the size of what reaches it."""

    size: Pair
    channels: int
    kernel: Pair
    filters: int
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    transposed: bool = False
    output_padding: Pair = (0, 0)
    pool: str | None = None

    def axis(self, number: int) -> Axis:
        """The numbers of the height (axis 0) or of the width (1)."""
        return Axis(*(getattr(self, name)[number] for name in Axis._fields))

    def out(self, axis: int) -> Exact:
        """The output's height or width, not rounded."""
        if self.transposed:
            return arithmetic.transposed_out(*self.axis(axis), self.output_padding[axis])
        return arithmetic.conv_out(*self.axis(axis))

    @property
    def exact(self) -> bool:
        """Whether no division leaves a remainder."""
        return self.output == (self.out(0), self.out(1))

    @property
    def output(self) -> Pair:
        """Height and width, rounded down as torch does."""
        return math.floor(self.out(0)), math.floor(self.out(1))

    @property
    def weights(self) -> int:
        """Parameters without biases."""
        if self.pool:
            return 0
        return arithmetic.conv_params(self.channels, self.filters, self.kernel, groups=self.groups)

    @property
    def params(self) -> int:
        """Weights, and a bias for each filter."""
        return self.weights + (0 if self.pool or not self.bias else self.filters)

    @property
    def macs(self) -> int:
        """Multiply-adds on one image; a pool compares or adds only."""
        return math.prod(self.size if self.transposed else self.output) * self.weights

    def field(self, axis: int) -> int:
        """Pixels of the input behind one output; of a transposed convolution the most."""
        _, kernel, stride, _, dilation = self.axis(axis)
        if self.transposed:
            return arithmetic.transposed_field(kernel, stride, dilation)
        return arithmetic.extent(kernel, dilation)


def stack(layer: Layer, times: int) -> list[Layer]:
    """`layer` and its like on top of each other, as many maps each as the first has filters."""
    layers = [layer]
    while len(layers) < times:
        layers.append(replace(layer, size=layers[-1].output, channels=layer.filters))
    return layers


def seen(layers: Sequence[Layer]) -> list[tuple[Pair, Pair]]:
    """Receptive field and jump, each in height and width, behind every layer of a stack."""
    along: list[list[Pair]] = []
    for axis in (0, 1):
        behind = [(1, 1)]
        for layer in layers:
            _, kernel, stride, _, dilation = layer.axis(axis)
            behind.append(arithmetic.grow(*behind[-1], kernel, stride, dilation))
        along.append(behind[1:])
    return [((a[0], b[0]), (a[1], b[1])) for a, b in zip(*along, strict=True)]


def fits(layer: Layer) -> list[dict[str, Any]]:
    """For each axis that leaves a remainder the nearest numbers that leave none.

    `axis` is height, width or, where they are alike, both; `padding`, `stride` and `input` have
    up to two numbers each. A pool is padded by half its kernel at most, as torch demands.
    """
    found: list[dict[str, Any]] = []
    alike = layer.axis(0) == layer.axis(1)
    for number, name in enumerate(["both"] if alike else AXES):
        if isinstance(layer.out(number), int):
            continue
        axis = layer.axis(number)
        full = arithmetic.full_padding(axis.kernel, axis.dilation)
        found.append(
            {
                "axis": name,
                "padding": arithmetic.fitting_paddings(
                    axis, axis.kernel // 2 if layer.pool else full
                ),
                "stride": arithmetic.fitting_strides(axis),
                "input": arithmetic.fitting_sizes(axis),
            }
        )
    return found


def alternatives(layer: Layer, reduce: int | None = None) -> dict[str, tuple[Layer, ...]]:
    """Name and layers of the standard convolution, and of what else gives as many maps.

    `reduce` is the width of the bottleneck (Szegedy et al. 2015, section 4), an eighth of the
    channels if not told. Depthwise separable as in Howard et al. 2017, layers of 3x3 as in
    Simonyan and Zisserman 2015. Pools and transposed convolutions have none.
    """
    if layer.pool or layer.transposed:
        return {}
    standard, c_in, wide = replace(layer, groups=1), layer.channels, layer.kernel != (1, 1)
    one = Layer(
        size=layer.size, channels=c_in, kernel=(1, 1), filters=layer.filters, bias=layer.bias
    )
    found: dict[str, tuple[Layer, ...]] = {"standard": (standard,)}
    if wide and c_in > 1:
        depthwise = replace(layer, filters=c_in, groups=c_in)
        found["depthwise separable"] = depthwise, replace(one, size=layer.output)
    if reduce is None and wide and c_in // SHARE > 1:
        reduce = c_in // SHARE
    if reduce is not None:
        parts = replace(one, filters=reduce), replace(standard, channels=reduce)
        found[f"bottleneck of {reduce}"] = parts
    groups = max(2, layer.groups)
    if c_in % groups == layer.filters % groups == 0:
        found[f"{groups} groups"] = (replace(layer, groups=groups),)
    if threes := _threes(standard):
        found[f"{len(threes)} layers of 3×3"] = threes
    return found


def costs(layer: Layer, reduce: int | None = None) -> list[dict[str, Any]]:
    """Parameters and multiply-adds of each alternative.

    `ratio` is that of the multiply-adds to the standard convolution's, `parts` are those of
    every layer where there are several.
    """
    found = alternatives(layer, reduce)
    rows: list[dict[str, Any]] = []
    for name, parts in found.items():
        macs = [part.macs for part in parts]
        row = {"name": name, "params": sum(part.params for part in parts), "macs": sum(macs)}
        row["ratio"] = sum(macs) / found["standard"][0].macs
        row["parts"] = macs if len(macs) > 1 else []
        rows.append(row)
    return rows


def misfits(layer: Layer, reduce: int | None = None) -> Iterator[Problem]:
    """Numbers that are possible alone but not together, or not in torch."""
    both = math.gcd(layer.channels, layer.filters)
    if both % layer.groups:
        channels = f"{layer.channels} channels and {layer.filters} filters"
        most = next(number for number in range(layer.groups, 0, -1) if both % number == 0)
        text = f"groups must divide {channels}, got {layer.groups}"
        yield Problem(text, f"such as groups={most}", "groups")
    if reduce is not None and reduce > layer.channels:
        text = f"reduce must be at most {layer.channels}, the channels of the input, got {reduce}"
        yield Problem(text, key="reduce")
    for kernel, padding in zip(layer.kernel, layer.padding, strict=True):
        if layer.pool and padding > kernel // 2:
            text = f"padding of a pool must be at most {kernel // 2}, half its kernel"
            yield Problem(f"{text}, got {padding}", key="padding")
            break
    for more, *steps in zip(layer.output_padding, layer.stride, layer.dilation, strict=True):
        if more >= max(steps):
            text = f"output_padding must be below stride or dilation, {max(steps)}, got {more}"
            yield Problem(text, key="output_padding")
            break


def _threes(layer: Layer) -> tuple[Layer, ...]:
    """Layers of 3x3 with the field and output of a larger kernel, same or valid, at stride 1."""
    times, odd = divmod(layer.kernel[0], 2)
    if not odd or not 1 < times <= MOST_THREES:
        return ()
    for padding in (0, 1):
        three = replace(
            layer, kernel=(3, 3), padding=(padding, padding), stride=(1, 1), dilation=(1, 1)
        )
        side, all_padding = 2 * times + 1, padding * times
        if layer == replace(three, kernel=(side, side), padding=(all_padding, all_padding)):
            return tuple(stack(three, times))
    return ()
