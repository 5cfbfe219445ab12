"""ONNX's convolutions and pools as torch functions; see cnnctl.audit.onnx_ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

Attributes = Mapping[str, Any]
Rule = Callable[..., Any]
MAPS = 2  # the first axis of the places, behind batch and channels


def whole(value: Any) -> list[int]:
    """The numbers of an array. Raises ValueError for a tensor, which has none."""
    if isinstance(value, Tensor):
        raise ValueError("its sizes are not known without running the net")  # noqa: TRY004 - not its type
    return [int(one) for one in np.ravel(value)]


class Window:
    """Strides, dilations and the padding before and behind, of each axis of the places."""

    def __init__(self, made: Attributes, sizes: Sequence[int], kernel: Sequence[int]) -> None:
        axes, auto = len(sizes), made.get("auto_pad", "NOTSET")
        self.strides: list[int] = made.get("strides", [1] * axes)
        self.dilations: list[int] = made.get("dilations", [1] * axes)
        self.extents = [
            dilation * (side - 1) + 1 for dilation, side in zip(self.dilations, kernel, strict=True)
        ]
        pads = made.get("pads", [0] * 2 * axes) if auto == "NOTSET" else [0] * 2 * axes
        self.before, self.behind = pads[:axes], pads[axes:]
        if auto.startswith("SAME"):
            sides = zip(sizes, self.strides, self.extents, strict=True)
            self.split([max(0, -(-n // s) * s - s + k - n) for n, s, k in sides], auto)

    def split(self, paddings: Sequence[int], auto: str) -> None:
        """Share paddings out to both ends; SAME_LOWER puts the odd pixel before."""
        less, more = [one // 2 for one in paddings], [one - one // 2 for one in paddings]
        self.before, self.behind = (more, less) if auto == "SAME_LOWER" else (less, more)

    def even(self, image: Tensor, kernel: Sequence[int] = ()) -> tuple[Tensor, list[int]]:
        """The image and the padding that is left to torch, which pads both ends alike.

        Its pools, of `kernel`, pad by half of the kernel at most.
        """
        within = all(side <= k // 2 for side, k in zip(self.before, kernel, strict=False))
        if self.before == self.behind and within:
            return image, self.before
        return functional.pad(image, _torch_pads(self.before, self.behind)), [0] * len(self.before)


def _torch_pads(before: Sequence[int], behind: Sequence[int]) -> list[int]:
    """Torch wants the last axis first, and before and behind together."""
    pairs = zip(reversed(before), reversed(behind), strict=True)
    return [side for pair in pairs for side in pair]


def conv(made: Attributes, image: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Conv: images (B, c_in, …) -> (B, c_out, …)."""
    window = Window(made, image.shape[MAPS:], weight.shape[MAPS:])
    image, padding = window.even(image)
    slide = getattr(functional, f"conv{len(padding)}d")
    group = made.get("group", 1)
    return slide(image, weight, bias, window.strides, padding, window.dilations, group)


def conv_transpose(
    made: Attributes, image: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """ConvTranspose: images (B, c_in, …) -> (B, c_out, …); an `output_shape` sets the padding."""
    sizes, auto = image.shape[MAPS:], made.get("auto_pad", "NOTSET")
    window = Window({**made, "auto_pad": "NOTSET"}, sizes, weight.shape[MAPS:])
    extra: list[int] = made.get("output_padding", [0] * len(sizes))
    sides = zip(sizes, window.strides, window.extents, extra, strict=True)
    full = [(n - 1) * s + k + e for n, s, k, e in sides]
    ends: Sequence[int] = made.get("output_shape", ())[-len(sizes) :]  # channels may be in front
    if auto.startswith("SAME") and not ends:
        strided = [n * s for n, s in zip(sizes, window.strides, strict=True)]
        ends = [min(pair) for pair in zip(full, strided, strict=True)]
    if ends:
        window.split([size - end for size, end in zip(full, ends, strict=True)], auto)
    if min(*window.before, *window.behind) < 0:
        raise ValueError(f"its output has {full} places at most")
    even = window.before == window.behind
    spread = getattr(functional, f"conv_transpose{len(sizes)}d")
    padding = window.before if even else 0
    group = made.get("group", 1)
    out = spread(image, weight, bias, window.strides, padding, extra, group, window.dilations)
    if even:
        return out
    stops = [size - side for size, side in zip(full, window.behind, strict=True)]
    return out[(..., *map(slice, window.before, stops))]


def max_pool(made: Attributes, image: Tensor) -> Tensor:
    """MaxPool: the largest values, without their places."""
    kernel = made["kernel_shape"]
    window = Window(made, image.shape[MAPS:], kernel)
    image, padding = window.even(image, kernel)
    pool = getattr(functional, f"max_pool{len(kernel)}d")
    ceil = bool(made.get("ceil_mode", 0))
    return pool(image, kernel, window.strides, padding, window.dilations, ceil)


def average_pool(made: Attributes, image: Tensor) -> Tensor:
    """AveragePool: whether padding counts changes no shape."""
    kernel = made["kernel_shape"]
    window = Window(made, image.shape[MAPS:], kernel)
    if max(window.dilations) > 1:
        raise ValueError("torch has no dilated means")
    image, padding = window.even(image, kernel)
    pool = getattr(functional, f"avg_pool{len(kernel)}d")
    return pool(image, kernel, window.strides, padding, bool(made.get("ceil_mode", 0)))


def everywhere(function: Rule) -> Rule:
    """GlobalAveragePool and GlobalMaxPool, by torch's mean and amax."""
    return lambda _, image: function(image, list(range(MAPS, image.dim())), keepdim=True)


def pad(
    made: Attributes, value: Tensor, pads: Any = None, _fill: Any = None, axes: Any = None
) -> Tensor:
    """Pad: by constants, edges or mirrored, or less where a number is negative."""
    given = whole(made["pads"] if pads is None else pads)
    dims = range(value.dim()) if axes is None else whole(axes)
    before, behind = [0] * value.dim(), [0] * value.dim()
    for place, dim in enumerate(dims):
        before[dim], behind[dim] = given[place], given[place + len(dims)]
    sides = _torch_pads(before, behind)
    while sides[-2:] == [0, 0]:  # torch mirrors the axes of the places only
        del sides[-2:]
    mode = {"edge": "replicate", "reflect": "reflect"}.get(made.get("mode", ""), "constant")
    return functional.pad(value, sides, mode)


def resize(made: Attributes, image: Tensor, *given: Any) -> Tensor:
    """Resize: the inputs are roi, scales and sizes, or the scales alone up to opset 10."""
    if made.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("keep_aspect_ratio_policy")
    if len(given) > 1:
        scales, sizes = [*given[1:], None][:2]
    else:
        scales, sizes = [*given, made.get("scales")][0], None
    dims = made.get("axes", list(range(image.dim())))
    wanted = list(image.shape)
    if sizes is not None and np.size(sizes):
        numbers = whole(sizes)
    else:
        factors = zip(dims, np.asarray(scales, dtype=np.float32), strict=True)
        numbers = [int(np.float32(image.shape[dim]) * factor) for dim, factor in factors]
    for dim, size in zip(dims, numbers, strict=True):
        wanted[dim] = size
    if wanted[1] != image.shape[1]:
        raise ValueError("channels are resized")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(made.get("mode", ""), "nearest")
    return functional.interpolate(image, wanted[MAPS:], mode=mode)
