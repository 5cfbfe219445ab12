"""Where a loss or a gradient that is no number came from: the first such value of the step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cnnctl.nets.net import Net
from cnnctl.tasks.finding import Finding

Part = tuple[Tensor, Tensor]  # images (B, C, H, W); labels (B,), or shares (B, classes)


class _Found(Exception):  # noqa: N818 - the end of a search
    """Carries the tensor that is not finite out of the forward pass, and what to call it."""


def examine(net: Net, parts: Sequence[Part], seeds: Sequence[int | None]) -> Finding | None:
    """Make the step again, up to its gradient, and find where it first is not finite.

    `parts` are the batches of the step, `net` is as it was before it, and each part draws from
    its seed what it drew before; None goes on with the seed of the part before. Gradients that
    stand in the net stay, and so do its buffers. None where everything is finite: then it was
    the batch of another process, or kernels that do not give the same bits each time. Not for
    nets whose layers wait for other processes (synchronised batch norms, sharded weights).
    """
    found = _images(parts) or _weights(net)
    if found is not None:
        return found
    with _buffers_kept(net):
        found = _forward(net, parts, seeds) or _backward(net, parts, seeds)
    if found is None:
        return None
    sizes = ((name, float(value.detach().abs().max())) for name, value in net.named_parameters())
    return replace(found, largest=max(sizes, key=lambda one: one[1], default=None))


def _images(parts: Sequence[Part]) -> Finding | None:
    start = 0
    for images, _ in parts:
        if not images.isfinite().all():
            return _of_rows("input of the net", "images", images, start, len(images))
        start += len(images)
    return None


def _weights(net: Net) -> Finding | None:
    for name, value in net.named_parameters():
        if not value.isfinite().all():
            return Finding(f"{name} holds {_kind(value)} before the step", "weights")
    return None


def _forward(net: Net, parts: Sequence[Part], seeds: Sequence[int | None]) -> Finding | None:
    """The first layer or loss that is not finite; nothing is kept for a backward pass."""
    start = 0
    for (images, labels), seed in zip(parts, seeds, strict=True):
        try:
            with torch.no_grad(), _watched(net):
                outputs = _run(net, images, seed)
                _look("output of the net", net, outputs)
        except _Found as found:
            place, value = found.args
            return _of_rows(place, "layer", value, start, len(images))
        with torch.no_grad():
            if not net.loss(outputs, labels).isfinite():
                return _of_loss(net, outputs, labels, start)
        start += len(images)
    return None


def _run(net: Net, images: Tensor, seed: int | None) -> Any:
    """What the net gives; as it is written, because compiled code calls no hooks."""
    torch.clear_autocast_cache()  # weights that were rounded without a gradient would serve again
    if seed is not None:
        torch.manual_seed(seed)
    return net.forward(images)


@contextlib.contextmanager
def _watched(net: Net) -> Iterator[None]:
    """Raise _Found at the first module whose input or output is not finite.

    Inputs count, too: between two layers a net may add or multiply by itself.
    """
    hooks = []
    for name, module in net.named_modules():
        if module is not net:
            hooks.append(module.register_forward_pre_hook(partial(_before, name)))
            hooks.append(module.register_forward_hook(partial(_after, name)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _before(name: str, module: nn.Module, inputs: Any) -> None:
    _look(f"input of layer {name}", module, inputs)


def _after(name: str, module: nn.Module, _: Any, outputs: Any) -> None:
    _look(f"output of layer {name}", module, outputs)


def _look(place: str, module: nn.Module, values: Any) -> None:
    for value in _tensors(values):
        if not value.isfinite().all():
            shape = "x".join(str(side) for side in value.shape[1:])
            raise _Found(f"{place} ({type(module).__name__} {shape})", value)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors(value)


def _of_rows(place: str, cause: str, value: Tensor, start: int, images: int) -> Finding:
    """What is wrong with `value`, and with which of the `images` that begin at `start`."""
    bad = ~value.isfinite()
    rows = list(range(images))
    if value.ndim and len(value) == images:
        rows = bad.reshape(images, -1).any(1).nonzero().flatten().tolist()
    return Finding(
        f"{place} is {_kind(value)} in {int(bad.sum())} of {bad.numel()} values", cause,
        tuple(start + row for row in rows), len(rows) == images, value.dtype == torch.float16,
    )  # fmt: skip


def _of_loss(net: Net, outputs: Any, labels: Tensor, start: int) -> Finding:
    """The logits are finite, the loss is not: ask for that of each image alone."""
    losses = torch.stack([
        net.loss(_one(outputs, place), labels[place : place + 1]) for place in range(len(labels))
    ])  # fmt: skip
    rows = (~losses.isfinite()).nonzero().flatten().tolist() or list(range(len(labels)))
    return Finding(
        f"the loss is {_kind(net.loss(outputs, labels))}", "loss",
        tuple(start + row for row in rows), len(rows) == len(labels), losses.dtype == torch.float16,
    )  # fmt: skip


def _one(outputs: Any, place: int) -> Any:
    if isinstance(outputs, tuple):
        return tuple(_one(value, place) for value in outputs)
    return outputs[place : place + 1]


def _backward(net: Net, parts: Sequence[Part], seeds: Sequence[int | None]) -> Finding | None:
    """The parameter nearest to the loss whose gradient is not finite, or becomes so as a sum."""
    learning = [(name, value) for name, value in net.named_parameters() if value.requires_grad]
    whole = sum(len(images) for images, _ in parts)
    total: list[Tensor] = []
    for (images, labels), seed in zip(parts, seeds, strict=True):
        with torch.enable_grad():
            loss = net.loss(_run(net, images, seed), labels) * (len(images) / whole)
            order, grads = _gradients(loss, [value for _, value in learning])
        total = [a + b for a, b in zip(total, grads, strict=True)] if total else grads
        bad = [place for place in order if not total[place].isfinite().all()]
        if bad:
            value = total[bad[0]]
            more = f", the nearest to the loss of {len(bad)} such" if len(bad) > 1 else ""
            text = f"gradient of {learning[bad[0]][0]} is {_kind(value)}{more}"
            return Finding(text, "gradient", half=value.dtype == torch.float16)
    return None


def _gradients(loss: Tensor, values: Sequence[Tensor]) -> tuple[list[int], list[Tensor]]:
    """The places of `values` in the order of the backward pass, and their gradients.

    Not by loss.backward(): it would add to the gradients that stand, and wake the exchange
    between processes.
    """
    order: list[int] = []
    hooks = [
        value.register_hook(partial(lambda place, _: order.append(place), place))
        for place, value in enumerate(values)
    ]
    try:
        found = torch.autograd.grad(loss, values, materialize_grads=True, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(order)), list(found)


@contextlib.contextmanager
def _buffers_kept(net: Net) -> Iterator[None]:
    """Running statistics of batches stay as they are."""
    before = [(value, value.clone()) for value in net.buffers()]
    try:
        yield
    finally:
        for value, kept in before:
            value.copy_(kept)


def _kind(value: Tensor) -> str:
    found = (("NaN", value.isnan()), ("inf", value.isinf()))
    return " and ".join(name for name, where in found if where.any())
