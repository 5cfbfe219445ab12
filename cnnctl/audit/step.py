"""One training step on tensors without memory: how many bytes it will take, and where.

The order is that of `cnnctl train`: forward and loss while the gradients of the step before
still stand, then those are dropped, then backward, then the update.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cnnctl.audit import update
from cnnctl.audit.ghost import Ghost, autocast, ghost
from cnnctl.audit.live import Live
from cnnctl.audit.skips import Skips
from cnnctl.audit.trace import Trace, Walk
from cnnctl.audit.workspace import none, workspace
from cnnctl.config import learning
from cnnctl.config.schema import Precision
from cnnctl.errors import NetError
from cnnctl.nets.net import Net

BLOCK = {"gpu": 512}  # bytes: torch's allocator on a GPU rounds up to them


@dataclass(frozen=True)
class Setting:
    """How a step is made. `batch_size` is that of one device, and so is all memory.

    Several devices average their gradients in buckets, which hold them a second time.
    """

    batch_size: int
    optimizer: learning.Optimizer
    precision: Precision = "32-true"
    accelerator: str = "cpu"
    channels_last: bool = False
    accumulate: int = 1
    devices: int = 1
    clip: bool = False
    figures: bool = (
        False  # whether logits stay until they are counted, those of the step before too
    )


@dataclass(frozen=True)
class Memory:
    """Bytes of a training step.

    `weights` (with buffers), `gradients` and `optimizer_state` are whole; `batch` are the images,
    `activations` what the forward pass keeps for the backward pass, `skips` that part of it which
    only joins need (see audit.skips). `parts` says of what the peak
    consists (labels are with the batch, and on a CPU `workspace` is what a kernel takes for
    itself), phase, layer and op where it is; in the update op is the rule.
    """

    setting: Setting
    weights: int
    gradients: int
    optimizer_state: int
    batch: int
    activations: int
    skips: int
    peak: int
    parts: dict[str, int]
    phase: str
    layer: str
    op: str
    walk: Walk


def measure(net: nn.Module, shape: tuple[int, int, int], setting: Setting) -> Memory:
    """The memory of one step of `net` on images of `shape` (C, H, W); allocates nothing.

    Raises NetError where the net cannot be trained, or not on such a batch.
    """
    with ghost(net, "train", setting.precision) as double:
        live = Live(BLOCK.get(setting.accelerator, 1))
        trace = Trace(double, live, workspace=workspace if setting.accelerator == "cpu" else none)
        live.place = trace.place
        trace.skips = Skips()
        learning = list({id(p): p for p in double.parameters.values() if p.requires_grad}.values())
        if not learning:
            raise NetError(
                "no parameter of the net can be trained", "requires_grad of all is false"
            )
        temporaries = _standing(double, live, setting, learning)
        image = double.images((setting.batch_size, *shape))
        if setting.channels_last:
            image = image.to(memory_format=torch.channels_last)
        live.add(image, "batch")
        before = dict(live.parts)
        try:
            with trace.open():
                activations, skips = _step(double, image, trace, setting, learning)
        except ValueError as wrong:  # batch normalisation wants more than one value per channel
            text = f"a batch of {setting.batch_size} cannot be trained on: {wrong}"
            raise NetError(text, "a larger batch_size") from wrong
        trace.phase, trace.op = "update", setting.optimizer.name
        live.moment("temporaries", temporaries)
    phase, layer, op = live.peak.place
    return Memory(
        setting, before["weights"], before["gradients"], before["optimizer_state"],
        before["batch"], activations, skips, live.peak.bytes, live.peak.parts,
        phase, layer, op, trace.walk,
    )  # fmt: skip


def _standing(double: Ghost, live: Live, setting: Setting, learning: Sequence[Tensor]) -> int:
    """Count what stands from step to step; the bytes that the update will need for a moment."""
    for value in (*double.parameters.values(), *double.buffers.values()):
        live.add(value, "weights")
    for value in learning:
        value.grad = torch.empty(value.shape, dtype=value.dtype, device=value.device)
        live.add(value.grad, "gradients")
    sizes = [live.rounded(value.untyped_storage().nbytes()) for value in learning]
    how = update.loop(
        setting.optimizer, setting.precision, setting.accelerator, clip=setting.clip
    )  # fmt: skip
    on_host = setting.accelerator == "gpu" and how != "fused"  # where its count of steps is kept
    counter = 0 if on_host else live.rounded(update.COUNTER)
    live.hold("optimizer_state", update.state(setting.optimizer, sizes, counter))
    if setting.devices > 1:
        live.hold("buckets", sum(sizes))
    return update.temporaries(setting.optimizer, sizes, how)


def _step(
    double: Ghost, image: Tensor, trace: Trace, setting: Setting, learning: list[Tensor]
) -> tuple[int, int]:
    """Forward, loss and backward; the bytes that the forward pass keeps, and those of skips."""
    live, joins = trace.live, trace.skips
    assert live is not None
    assert joins is not None
    with torch.enable_grad(), autocast(setting.precision):
        outputs = double(image)
        trace.phase = "loss"
        labels = _labels(double.net, outputs, trace)
        with _weighted(double):
            loss = _loss(double.net, outputs, labels)
    logits = _first(outputs).detach() if setting.figures else None
    del outputs
    trace.keep()
    kept = live.parts["activations"], joins.kept
    if logits is not None:
        live.hold("figures", _counted(double.net, logits, setting.accumulate, live))
    for value in learning:
        if setting.accumulate == 1:
            value.grad = None
        value.register_post_accumulate_grad_hook(_gradient(live))
    trace.phase, trace.made = "backward", "temporaries"
    loss.backward()
    return kept


def _counted(net: nn.Module, logits: Tensor, parts: int, live: Live) -> int:
    """Bytes of the logits that wait to be counted besides those of the last part of a step.

    The other parts' do until the step is made. Those of images' classes wait longer, so that
    those of the step before are there, too; those of pixels are counted at once.
    """
    waits = getattr(net, "TASK", "classify") == "classify"
    size = live.rounded(logits.untyped_storage().nbytes())
    return size * (parts - 1 + parts * waits) + live.rounded(4) * parts


def _gradient(live: Live) -> Any:
    def hook(value: Tensor) -> None:
        assert value.grad is not None
        live.rename(value.grad, "gradients")

    return hook


def _labels(net: nn.Module, outputs: Any, trace: Trace) -> Tensor:
    """As a net of ours has them, or (B,), or (B, H, W) for a stranger's logits (B, classes, H, W).

    They came with the images.
    """
    assert trace.live is not None
    made, trace.made = trace.made, ""
    logits = _first(outputs)
    if isinstance(net, Net):
        labels = net.blank(logits)
    else:
        size = (logits.shape[0], *logits.shape[2:])
        labels = torch.zeros(size, dtype=torch.int64, device=logits.device)
    trace.made = made
    trace.live.hold("batch", trace.live.rounded(labels.untyped_storage().nbytes()))
    return labels


def _loss(net: nn.Module, outputs: Any, labels: Tensor) -> Tensor:
    """The net's own loss, or cross-entropy on the first tensor that a stranger gives."""
    own = getattr(net, "loss", None)
    return cross_entropy(_first(outputs), labels) if own is None else own(outputs, labels)


@contextmanager
def _weighted(double: Ghost) -> Iterator[None]:
    """While open, what the classes count has no memory either."""
    net: Any = double.net
    own, copy = getattr(net, "class_weights", None), double.buffers.get("class_weights")
    if copy is None:
        yield
        return
    net.class_weights = copy
    try:
        yield
    finally:
        net.class_weights = own


def _first(outputs: Any) -> Tensor:
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs
