"""One training step on tensors without memory: how many bytes it will take, and where.

The order is that of `cnnctl train`: forward and loss while the gradients of the step before
still stand, then those are dropped, then backward, then the update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cnnctl.audit import update
from cnnctl.audit.ghost import Ghost, autocast, ghost
from cnnctl.audit.live import Live
from cnnctl.audit.trace import Trace, Walk
from cnnctl.config import schema
from cnnctl.config.schema import Precision
from cnnctl.errors import NetError

BLOCK = {"gpu": 512}  # bytes: torch's allocator on a GPU rounds up to them


@dataclass(frozen=True)
class Setting:
    """How a step is made. `batch_size` is that of one device."""

    batch_size: int
    optimizer: schema.Optimizer
    precision: Precision = "32-true"
    accelerator: str = "cpu"
    channels_last: bool = False
    accumulate: int = 1


@dataclass(frozen=True)
class Memory:
    """Bytes of a training step.

    `weights` (with buffers), `gradients` and `optimizer_state` are whole; `activations` is what
    the forward pass keeps for the backward pass. `parts` says of what the peak consists, and
    phase, layer and op where it is.
    """

    setting: Setting
    weights: int
    gradients: int
    optimizer_state: int
    batch: int
    activations: int
    peak: int
    parts: dict[str, int]
    phase: str
    layer: str
    op: str
    walk: Walk


def measure(net: nn.Module, shape: tuple[int, int, int], setting: Setting) -> Memory:
    """The memory of one step of `net` on images of `shape` (C, H, W); allocates nothing.

    Raises NetError where the net cannot be trained on such a batch.
    """
    with ghost(net, "train", setting.precision) as double:
        live = Live(BLOCK.get(setting.accelerator, 1))
        trace = Trace(double, live)
        live.place = trace.place
        weights = [*double.parameters.values(), *double.buffers.values()]
        for value in weights:
            live.add(value, "weights")
        learning = list({id(p): p for p in double.parameters.values() if p.requires_grad}.values())
        for value in learning:
            value.grad = torch.empty_like(value)
            live.add(value.grad, "gradients")
        sizes = [value.untyped_storage().nbytes() for value in learning]
        state = update.state(setting.optimizer, sizes)
        live.hold("optimizer_state", state)
        image = double.images((setting.batch_size, *shape))
        if setting.channels_last:
            image = image.to(memory_format=torch.channels_last)
        live.add(image, "batch")
        before = dict(live.parts)
        try:
            with trace.open():
                activations = _step(double, image, trace, setting, learning)
        except ValueError as wrong:  # batch normalisation wants more than one value per channel
            text = f"a batch of {setting.batch_size} cannot be trained on: {wrong}"
            raise NetError(text, "a larger batch_size") from wrong
        trace.phase = "update"
        how = update.loop(setting.optimizer, setting.precision, setting.accelerator)
        live.moment("temporaries", update.temporaries(setting.optimizer, sizes, how))
    phase, layer, op = live.peak.place
    return Memory(
        setting, before["weights"], before["gradients"], state, before["batch"], activations,
        live.peak.bytes, live.peak.parts, phase, layer, op, trace.walk,
    )  # fmt: skip


def _step(
    double: Ghost, image: Tensor, trace: Trace, setting: Setting, learning: list[Tensor]
) -> int:
    """Forward, loss and backward; the bytes that the forward pass leaves alive."""
    live = trace.live
    assert live is not None
    with torch.enable_grad(), autocast(setting.precision):
        outputs = double(image)
        trace.phase = "loss"
        loss = _loss(double.net, outputs, image.shape[0])
    del outputs
    trace.keep()
    kept = live.parts["activations"]
    for value in learning:
        if setting.accumulate == 1:
            value.grad = None
        value.register_post_accumulate_grad_hook(_gradient(live))
    trace.phase, trace.made = "backward", "temporaries"
    loss.backward()
    return kept


def _gradient(live: Live) -> Any:
    def hook(value: Tensor) -> None:
        assert value.grad is not None
        live.rename(value.grad, "gradients")

    return hook


def _loss(net: nn.Module, outputs: Any, batch: int) -> Tensor:
    """The net's own loss, or cross-entropy on the first tensor that a stranger gives."""
    first = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
    labels = torch.zeros(batch, *first.shape[2:], dtype=torch.int64)
    own = getattr(net, "loss", None)
    return own(outputs, labels) if own is not None else cross_entropy(first, labels)
