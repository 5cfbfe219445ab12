"""What an update rule keeps and needs for a moment, in bytes: torch.optim without running it.

State lives from the first step on. Temporaries appear inside a step: one kernel for all
parameters (fused) needs none, the loop over parameters (CPU) those of one parameter at a time,
the loop over operations (foreach, GPU) those of all parameters at once.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from cnnctl.config import schema

Loop = Literal["fused", "single", "foreach"]
FUSED = {"sgd", "adam", "adamw"}  # the rules that torch has one kernel for
COUNTER = 4  # bytes of the step count, a float32 per parameter


class Need(NamedTuple):
    """Tensors as large as a parameter: kept, and at work at the same time; bytes of a counter."""

    kept: int
    working: int
    counter: int


def loop(optimizer: schema.Optimizer, precision: str, accelerator: str) -> Loop:
    """How training makes its steps; a loss scaler that also clips cannot use fused kernels."""
    if optimizer.name in FUSED and precision != "16-mixed":
        return "fused"
    return "foreach" if accelerator == "gpu" else "single"


def need(optimizer: schema.Optimizer) -> Need:
    """State and temporaries per parameter, in the loops that are not fused."""
    decayed = int(
        optimizer.weight_decay > 0 and optimizer.name != "adamw"
    )  # a copy of the gradient
    if isinstance(optimizer, schema.Sgd):
        momentum = int(optimizer.momentum > 0)
        return Need(momentum, decayed + int(momentum and optimizer.nesterov), 0)
    if isinstance(optimizer, schema.RmsProp):
        kept = 1 + int(optimizer.momentum > 0) + int(optimizer.centered)
        return Need(kept, decayed + 1, COUNTER)
    return Need(2, decayed + 1, COUNTER)


def state(optimizer: schema.Optimizer, sizes: list[int]) -> int:
    """Bytes that the rule keeps for parameters of these sizes in bytes."""
    wanted = need(optimizer)
    return wanted.kept * sum(sizes) + wanted.counter * len(sizes)


def temporaries(optimizer: schema.Optimizer, sizes: list[int], how: Loop) -> int:
    """Bytes that one step needs for a moment."""
    if how == "fused" or not sizes:
        return 0
    return need(optimizer).working * (sum(sizes) if how == "foreach" else max(sizes))
