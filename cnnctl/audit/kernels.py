"""The buffers of a convolution on a CPU, beside its arguments and results.

oneDNN computes most of them on copies: channels lie in blocks as wide as a vector register,
filled up with zeros, or beside each other in rows; results are copied back. torch's own kernels
unfold images into columns. Counted is what grows with the batch or with the weights, as torch's
profiler shows it (torch 2.15 with AVX2, AVX-512 and AMX); some kB a thread, and with 16-bit types
some tiles, are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

FLOAT = 4  # bytes
HALF = 8  # floats in a block where images have few channels
FLAT = 3  # channels of an image that the gradient of the weights reads in place
WORD = 4  # channels of a group below which it is a matrix product
NARROW = 16  # channels of a group up to which it is never in rows
DIRECT = 3  # side of a kernel up to which channels by themselves have a kernel of their own


@dataclass(frozen=True)
class Convolution:
    """Image (B, C, H, W), weight and result of a convolution, and how it slides."""

    image: Tensor
    weight: Tensor
    result: Tensor
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int
    biased: bool = True

    @property
    def sides(self) -> Sequence[int]:
        """Height and width of the kernel."""
        return self.weight.shape[2:]

    @property
    def pointwise(self) -> bool:
        """Whether every place of the result is made of one place of the image."""
        return max(*self.sides, *self.stride) == 1 > max(self.padding)

    @property
    def channels(self) -> tuple[int, int]:
        """Those of a group: of the image and of the result."""
        return self.image.shape[1] // self.groups, self.result.shape[1] // self.groups

    @property
    def depthwise(self) -> bool:
        """Whether every channel is by itself."""
        return self.groups > 1 and self.channels == (1, 1)

    @property
    def product(self) -> bool:
        """Whether groups are too narrow for more than a matrix product."""
        narrow = any(count % WORD for count in self.channels)
        return self.groups > 1 and narrow and not self.depthwise

    @property
    def last(self) -> bool:
        """Whether images are in channels_last: only weights are copied then."""
        return _is_last(self.image) or _is_last(self.result)

    def rows(self, *, apart: bool) -> bool:
        """Whether oneDNN has the channels of a place in a row.

        It does so where a stride moves places `apart`, and with 16-bit types where the processor
        multiplies them in tiles.
        """
        wanted = (self.image.itemsize < FLOAT and tiles()) or (apart and max(self.stride) > 1)
        return wanted and (self.groups == 1 or min(self.channels) > NARROW)


def forward(made: Convolution) -> int:
    """Bytes beside image, weight and result at the worst moment."""
    image, result = made.image, made.result
    slow = own_kernel(made)
    if slow:
        columns = _columns(made, whole=slow != "SlowDilated2d")
        if made.groups > 1:  # one group after the other, joined at the end
            return max(columns + image.nbytes // made.groups, result.nbytes)
        return columns
    if made.last:
        return _last(made)
    if made.product:
        return result.nbytes
    rows = made.rows(apart=made.transposed)
    few = made.groups == 1 and image.shape[1] < block() and not rows
    given = 0 if few else _copy(made, image, rows=rows)
    given += _weight(made, rows=rows, flat=few)
    copied = _copy(made, result, rows=rows)
    twice = made.transposed and (made.biased or made.groups == 1)
    given += copied if twice and not rows else 0
    return _pass(given, copied, result.nbytes, rows=rows) - result.nbytes


def _last(made: Convolution) -> int:
    """In channels_last: the weights, and of what is spread an image for each thread."""
    weight = made.weight
    if made.transposed and made.depthwise:
        return _filled_up(made) + (made.result.nbytes if made.biased else 0)
    images = max(1, made.image.shape[0])
    several = min(torch.get_num_threads(), images) if made.transposed else 0
    return (1 + _turned(weight)) * weight.nbytes + several * made.image.nbytes // images


def backward(made: Convolution, *, to_image: bool, to_weight: bool) -> int:
    """Bytes beside the gradient of the result, image, weight and the gradients that are made."""
    weight, images = made.weight, made.image.nbytes * to_image
    slow = own_kernel(made)
    if slow:
        return _slow_backward(made, slow, images, to_weight=to_weight)
    if made.last and made.transposed and made.depthwise and not to_weight:
        return _filled_up(made)
    if made.last:
        filled = block() ** 2 if made.depthwise and not _direct(made) else 1 + _turned(weight)
        return weight.nbytes * (filled + to_weight)
    if made.product:
        return images
    results = images + weight.nbytes * to_weight
    first = _to_image(made) if to_image else 0
    return max(first, images + _to_weight(made) if to_weight else 0) - results


def own_kernel(made: Convolution) -> str:
    """The name of torch's own kernel where oneDNN is not used, otherwise nothing."""
    backend: Any = torch._C._select_conv_backend(  # noqa: SLF001 - there is no public name
        _on_cpu(made.image), _on_cpu(made.weight), bias=None, stride=made.stride,
        padding=made.padding, dilation=made.dilation, transposed=made.transposed,
        output_padding=made.output_padding, groups=made.groups, bias_sizes=None,
    )  # fmt: skip
    name = str(backend).rpartition(".")[2]
    return name if name.startswith("Slow") else ""


@cache
def block() -> int:
    """Floats in a vector register."""
    return 16 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 8


@cache
def tiles() -> bool:
    """Whether the processor multiplies 16-bit numbers in tiles (AMX)."""
    return torch.cpu._is_amx_tile_supported()  # noqa: SLF001 - there is no public name


def _slow_backward(made: Convolution, slow: str, images: int, *, to_weight: bool) -> int:
    unfolds = slow == "SlowDilated2d" or not made.pointwise
    columns = _columns(made, whole=slow == "Slow2d") if unfolds else 0
    if slow == "Slow2d" and not to_weight:
        columns = 0
    if made.groups > 1:
        group = (made.result.nbytes + made.image.nbytes) // made.groups
        return max(columns + group, images + made.weight.nbytes * to_weight)
    return columns


def _columns(made: Convolution, *, whole: bool) -> int:
    """Bytes of the unfolded images of one group: of the whole batch, or of one image."""
    if made.pointwise and not made.transposed:
        return 0
    places = prod((made.image if made.transposed else made.result).shape[2:])
    return (made.image.shape[0] if whole else 1) * made.weight[0].nbytes * places


def _to_image(made: Convolution) -> int:
    rows = made.rows(apart=not made.transposed)
    few = made.transposed and made.groups == 1 and made.result.shape[1] < block() and not rows
    given = 0 if few else _copy(made, made.result, rows=rows)
    given += _weight(made, rows=rows)
    return _pass(given, _copy(made, made.image, rows=rows), made.image.nbytes, rows=rows)


def _to_weight(made: Convolution) -> int:
    rows = made.rows(apart=False)
    if made.depthwise and not _direct(made):
        return made.weight.nbytes
    source = (made.result if made.transposed else made.image).shape[1]
    flat = source == FLAT or (source < FLAT and block() > HALF)
    flat = flat and not rows and not made.transposed
    wide = HALF if source < block() and not flat else block()
    given = _copy(made, made.result, rows=rows, wide=wide)
    given += 0 if flat else _copy(made, made.image, rows=rows, wide=wide)
    given += FLOAT * made.weight.numel() if made.image.itemsize < FLOAT else 0  # where it adds up
    return _pass(given, _weight(made, rows=rows, flat=flat), made.weight.nbytes, rows=False)


def _pass(given: int, copied: int, result: int, *, rows: bool) -> int:
    """Copies in, one copy out; then the result beside it, a second time where it is in rows."""
    return max(given + copied, copied + (2 if rows else 1) * result)


def _copy(made: Convolution, value: Tensor, *, rows: bool, wide: int | None = None) -> int:
    """Bytes of images in oneDNN's layout."""
    channels = value.shape[1]
    if rows or (made.groups > 1 and not made.depthwise):
        return value.nbytes
    return value.nbytes // channels * _filled(channels, wide or block())


def _weight(made: Convolution, *, rows: bool, flat: bool = False) -> int:
    weight = made.weight
    if rows or made.groups > 1:
        return weight.nbytes
    first, second = weight.shape[:2]
    second = second if flat else _filled(second, block())
    return weight[0, 0].nbytes * _filled(first, block()) * second


def _filled_up(made: Convolution) -> int:
    """Bytes of the weights of channels by themselves, filled up with zeros."""
    return made.weight[0].nbytes * _filled(made.groups, block())


def _filled(channels: int, wide: int) -> int:
    return ceil(channels / wide) * wide


def _direct(made: Convolution) -> bool:
    """Whether the gradient of a weight for every channel by itself has a kernel of its own."""
    return max(made.sides) <= DIRECT <= min(made.result.shape[2:])


def _is_last(value: Tensor) -> bool:
    return not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last)


def _turned(weight: Tensor) -> int:
    """Whether channels_last changes the order of the weights."""
    return int(weight.shape[1] > 1 and weight.shape[2:].numel() > 1)


def _on_cpu(value: Tensor) -> Tensor:
    """A tensor of the same shape in a CPU's memory, of one value."""
    if value.device.type == "cpu":
        return value
    return torch.empty(1, dtype=value.dtype, device="cpu").expand(value.shape)
