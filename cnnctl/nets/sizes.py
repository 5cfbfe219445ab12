"""How large the images are at every layer, with the arithmetic shown where it fails."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cnnctl.errors import ConfigError, Problem, SmallImageError
from cnnctl.nets.meta import Meta

BATCH_NORM = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - of one, two and three dimensions
SLIDING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def walk(net: nn.Module, shape: tuple[int, int, int], *, strict: bool = False) -> torch.Size:
    """The shape (C, H, W), or (values,), of what `net` makes of one image of `shape` (C, H, W).

    Runs on the meta device: no weight is touched and no number computed. Raises
    SmallImageError, naming the layer and its arithmetic, where nothing is left of the image,
    and if `strict` ConfigError with every layer whose size division leaves a remainder.
    """
    given, remainders = _walked(net, shape)
    if strict and remainders:
        raise ConfigError(_illegal(name, text) for name, text in remainders.items())
    return given


def remainders(net: nn.Module, shape: tuple[int, int, int]) -> dict[str, str]:
    """The layers whose size division leaves a remainder, each with its arithmetic."""
    return _walked(net, shape)[1]


def _walked(net: nn.Module, shape: tuple[int, int, int]) -> tuple[torch.Size, dict[str, str]]:
    held = itertools.chain(net.named_parameters(), net.named_buffers())
    state = {name: value.to("meta") for name, value in held}
    remainders: dict[str, str] = {}
    floats = (value.dtype for value in state.values() if value.is_floating_point())
    image = torch.empty(1, *shape, device="meta", dtype=next(floats, torch.float32))
    with torch.no_grad(), Meta(), _watched(net, shape, remainders):
        value = functional_call(net, state, (image,))
    return (value[0] if isinstance(value, tuple) else value).shape[1:], remainders


@contextmanager
def _watched(
    net: nn.Module, shape: tuple[int, int, int], remainders: dict[str, str]
) -> Iterator[None]:
    """While open, every sliding layer checks what reaches it."""

    def check(name: str, layer: nn.Module, given: tuple[Any, ...]) -> None:
        value: Tensor = given[0]
        for axis in (0, 1):
            left, text = steps(layer, int(value.shape[2 + axis]), axis)
            if (math.ceil(left) if getattr(layer, "ceil_mode", False) else left) < 1:
                wrong = f"a {shape[1]}x{shape[2]} image is too small for layer '{name}': {text}"
                raise SmallImageError(wrong, "use larger images: data.size=…")
            if left != int(left):
                remainders.setdefault(name, text)

    handles = [
        layer.register_forward_pre_hook(partial(check, name))
        for name, layer in net.named_modules()
        if isinstance(layer, SLIDING)
    ]
    # Without batch statistics: they want several values, and torch makes them slow on meta.
    norms = [layer for layer in net.modules() if isinstance(layer, BATCH_NORM) and layer.training]
    for layer in norms:
        layer.training = False
    try:
        yield
    finally:
        for layer in norms:
            layer.training = True
        for handle in handles:
            handle.remove()


def steps(layer: Any, size: int, axis: int) -> tuple[float, str]:
    """(N + 2P − K)/S + 1 of a convolution or pool for N pixels, as a number and as a text.

    K is the extent of the kernel, D(K − 1) + 1 with dilation D. Not rounded.
    """
    kernel, stride, dilation = (
        _pair(value)[axis]
        for value in (layer.kernel_size, layer.stride, getattr(layer, "dilation", 1))
    )
    kernel = dilation * (kernel - 1) + 1
    if isinstance(layer.padding, str):  # "same" and "valid", which torch allows at stride 1
        padding = (kernel - 1) / 2 if layer.padding == "same" else 0
    else:
        padding = _pair(layer.padding)[axis]
    left = (size + 2 * padding - kernel) / stride + 1
    padded = f" + {2 * padding:g}" if padding else ""
    return left, f"({size}{padded} − {kernel})/{stride} + 1 = {left:.4g}"


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _illegal(name: str, text: str) -> Problem:
    wrong = f"model.strict: fractions are illegal, but {name}: {text}"
    return Problem(wrong, "change data.size, or allow rounding: model.strict=false", name)
