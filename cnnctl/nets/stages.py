"""The layers of a net in a row, and the stages that they form.

A stage are the layers that give maps of one size (Lin et al. 2017, Feature pyramid networks for
object detection, section 3), whatever a family calls them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cnnctl.nets import meta
from cnnctl.nets.library import Library
from cnnctl.nets.library_masks import LibraryMasks

Row = nn.Module | nn.Parameter


def rows(net: nn.Module) -> Iterator[tuple[str, Row]]:
    """The layers by name, in the order of the forward pass.

    What a library has made is opened, and so are the lists of layers in it. Its
    parameters that are in no layer, such as an embedding of positions, stand before the layers.
    """
    for name, module in net.named_children():
        if isinstance(net, (Library, LibraryMasks)):
            yield from _opened(name, module)
        else:
            yield name, module


def learners(net: nn.Module) -> list[str]:
    """The layers that have parameters."""
    return [name for name, row in rows(net) if has_parameters(row)]


def has_parameters(row: Row) -> bool:
    """Whether there is anything to learn in it."""
    return isinstance(row, nn.Parameter) or next(row.parameters(), None) is not None


def inside(name: str, layers: Collection[str]) -> bool:
    """Whether a tensor or a layer is one of `layers`, or in one of them."""
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def starts(net: nn.Module, shape: tuple[int, int, int], layers: Sequence[str]) -> list[str]:
    """With which of `layers` a stage begins, for images of `shape` (C, H, W).

    A normalisation begins none. `net` is on the meta device; its modes are afterwards what they
    were.
    """
    sizes = _sizes(net, shape)
    named, found = dict(rows(net)), []
    size = None
    for name in layers:
        if name in sizes and sizes[name] != size and not _is_norm(named[name]):
            found.append(name if found else layers[0])
            size = sizes[name]
    return found


def _opened(name: str, module: nn.Module) -> Iterator[tuple[str, Row]]:
    yield from ((f"{name}.{key}", value) for key, value in module.named_parameters(recurse=False))
    for key, child in module.named_children():
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield from _opened(f"{name}.{key}", child)
        else:
            yield f"{name}.{key}", child


def _is_norm(row: Row) -> bool:
    """Whether it has no more than a factor and a summand for each channel."""
    return isinstance(row, nn.Module) and all(value.ndim == 1 for value in row.parameters())


def _sizes(net: nn.Module, shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    """Height and width of what each layer gives; nothing where that is a vector, or maps of 1x1."""
    sizes: dict[str, tuple[int, ...]] = {}

    def note(name: str, _layer: nn.Module, _given: Any, made: Any) -> None:
        size = tuple(made.shape[2:]) if isinstance(made, Tensor) else ()
        sizes[name] = size if math.prod(size) > 1 else ()

    modes = [(module, module.training) for module in net.modules()]
    hooks = [
        row.register_forward_hook(partial(note, name))
        for name, row in rows(net)
        if isinstance(row, nn.Module)
    ]
    try:
        net.eval()  # statistics of a batch want more than one value
        with torch.no_grad(), meta.device():
            net(torch.empty(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return sizes
