"""Shapes without numbers: a dispatch mode that answers the usual operations on meta tensors itself.

Torch computes the shapes of many operations in Python, and the first of them imports
torch._dynamo and sympy, which takes longer than torch itself. The rules here give the same
shapes, types and strides (a test compares them) in a tenth of the time. What no rule answers,
mistakes above all, is left to torch and its own message.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cnnctl.nets.shapes import LIKES, RULES

PLAIN = (Tensor, nn.Parameter)  # fake tensors and other subclasses have rules of their own


class Meta(TorchDispatchMode):
    """While open, operations on meta tensors cost microseconds."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # torch would import torch._dynamo to switch it off
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The result of one operation."""
        return run(func, args, kwargs)


@contextmanager
def device() -> Iterator[None]:
    """While open, new tensors and nets are made on the meta device: shapes without memory.

    Torch's random numbers stay as they were.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), Meta():
        yield


def run(func: Any, args: Sequence[Any], kwargs: dict[str, Any] | None) -> Any:
    """By a rule where there is one, otherwise by torch."""
    rule = RULES.get(func)
    if rule is not None and (not kwargs or func in LIKES):
        first: Any = args[0][0] if isinstance(args[0], list) and args[0] else args[0]
        if first.__class__ in PLAIN and first.is_meta:
            result = rule(*args, **(kwargs or {}))
            if result is not None:
                return result
    return func(*args, **(kwargs or {}))
