"""A net's double without numbers: its own code runs, on tensors that have a shape and no memory.

The net itself is not touched: parameters, buffers, modes, hooks, device and the random numbers
are afterwards what they were.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from cnnctl.config.schema import Precision
from cnnctl.nets import meta
from cnnctl.nets.net import Net

aten: Any = torch.ops.aten
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


def run(
    func: Any, args: Sequence[Any], kwargs: dict[str, Any] | None, *, backward: bool = False
) -> Any:
    """One operation on tensors without memory; it takes as many bytes as on real ones.

    Two things are otherwise where a dispatch mode looks on (torch 2.15). In the backward pass
    gradients that meet are added into a new tensor, elsewhere into one of them. In mixed
    precision fake statistics of a batch have the type of the image, real ones that of the weights.
    """
    if backward and func is aten.add.Tensor and not kwargs:
        for value in args:
            if _is_whole(value) and all(_is_like(value, other) for other in args):
                return value
    out = meta.run(func, args, kwargs)
    if func is aten.native_batch_norm.default and args[1] is not None:
        return out[0], *(value.to(args[1].dtype) for value in out[1:])
    return out


def _is_whole(value: Any) -> bool:
    """Whether a tensor has a storage for itself, rather than a part of one."""
    return isinstance(value, Tensor) and value.untyped_storage().nbytes() == value.nbytes


def _is_like(value: Tensor, other: Any) -> bool:
    same = isinstance(other, Tensor) and value.shape == other.shape
    return same and value.dtype == other.dtype


@contextmanager
def ghost(
    net: nn.Module, mode: Literal["train", "eval"], precision: Precision = "32-true"
) -> Iterator[Ghost]:
    """The double of a net, in training or evaluation mode, for as long as the context is open.

    Mixed precision needs torch's fake tensors, which answer autocast as a CPU does; all others
    live on the meta device.
    """
    modes = [(module, module.training) for module in net.modules()]
    fake = precision in MIXED
    device = "cpu" if fake else "meta"
    try:
        net.train(mode == "train")
        # The zoo's nets name the device of what they make, and asking at every call takes time.
        default = nullcontext() if isinstance(net, Net) else torch.device(device)
        with _same_chance(), _fakes(wanted=fake), default:
            yield Ghost(net, precision, device)
    finally:
        for module, training in modes:
            module.training = training


def autocast(precision: Precision) -> Any:
    """The context in which a mixed-precision forward pass runs."""
    kind = MIXED.get(precision)
    return nullcontext() if kind is None else torch.autocast("cpu", dtype=kind)


@contextmanager
def _same_chance() -> Iterator[None]:
    """Random numbers go on afterwards as if none had been drawn: torch's, Python's and NumPy's."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - a net may use it
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - as above


def _fakes(*, wanted: bool) -> Any:
    if not wanted:
        return nullcontext()
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)
