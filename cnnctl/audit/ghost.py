"""A net's double without numbers: its own code runs, on tensors that have a shape and no memory.

The net itself is not touched: parameters, buffers, modes, hooks, device and the random numbers
are afterwards what they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cnnctl.config.schema import Precision

TRUE: dict[str, torch.dtype] = {
    "16-true": torch.float16, "bf16-true": torch.bfloat16, "64-true": torch.float64,
}  # fmt: skip
MIXED: dict[str, torch.dtype] = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


class Ghost:
    """Calls `net` with parameters and buffers that are only shapes."""

    def __init__(self, net: nn.Module, precision: Precision, device: str) -> None:
        self.net = net
        self.kind = TRUE.get(precision, torch.float32)
        self.device = device
        copies: dict[int, Tensor] = {}  # tied weights stay one
        self.parameters = {
            name: self._copied(value, copies)
            for name, value in net.named_parameters(remove_duplicate=False)
        }
        self.buffers = {
            name: self._copied(value, copies)
            for name, value in net.named_buffers(remove_duplicate=False)
        }

    def __call__(self, image: Tensor) -> Any:
        """What the net gives for images (B, C, H, W)."""
        return functional_call(self.net, {**self.parameters, **self.buffers}, (image,))

    def images(self, shape: tuple[int, ...]) -> Tensor:
        """Images (B, C, H, W) of the net's own type."""
        return torch.empty(shape, dtype=self.kind, device=self.device)

    def _copied(self, value: Tensor, copies: dict[int, Tensor]) -> Tensor:
        if id(value) not in copies:
            kind = self.kind if value.is_floating_point() else value.dtype
            copy = torch.empty(value.shape, dtype=kind, device=self.device)
            copies[id(value)] = copy.requires_grad_(value.requires_grad)
        return copies[id(value)]


@contextmanager
def ghost(
    net: nn.Module, mode: Literal["train", "eval"], precision: Precision = "32-true"
) -> Iterator[Ghost]:
    """The double of a net, in training or evaluation mode, for as long as the context is open.

    Mixed precision needs torch's fake tensors, which answer autocast as a CPU does; all others
    live on the meta device.
    """
    modes = [(module, module.training) for module in net.modules()]
    net.train(mode == "train")
    fake = precision in MIXED
    device = "cpu" if fake else "meta"
    try:
        with torch.random.fork_rng(devices=[]), _fakes(wanted=fake), torch.device(device):
            yield Ghost(net, precision, device)
    finally:
        for module, training in modes:
            module.training = training


def autocast(precision: Precision) -> Any:
    """The context in which a mixed-precision forward pass runs."""
    kind = MIXED.get(precision)
    return nullcontext() if kind is None else torch.autocast("cpu", dtype=kind)


def _fakes(*, wanted: bool) -> Any:
    if not wanted:
        return nullcontext()
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)
