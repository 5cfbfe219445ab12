"""What an update rule keeps and needs for a moment, in bytes: torch.optim without running it.

State lives from the first step on. Temporaries appear inside a step: one kernel for all
parameters (fused) needs none, the loop over parameters (single) those of one parameter and what
is left of the one before, the loop over operations (foreach) those of all parameters at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from cnnctl.config import learning

Loop = Literal["fused", "single", "foreach"]
FUSED = {"sgd", "adam", "adamw"}  # the rules that torch has one kernel for
COUNTER = 4  # bytes of the step count, a float32 per parameter


class Need(NamedTuple):
    """How many tensors as large as the parameters a rule has, and the bytes of its counter.

    `kept` stay. `working` are there at once: in the loop `single` for one parameter, beside
    `left` of the parameter before, in `foreach` for all.
    """

    kept: int
    counter: int
    working: int
    left: int


def loop(
    optimizer: learning.Optimizer, precision: str, accelerator: str, *, clip: bool = False
) -> Loop:  # fmt: skip
    """How training makes its steps.

    A loss scaler needs to see the gradients before the step, and Lightning refuses to clip in
    mixed precision where one kernel makes it.
    """
    refused = precision == "16-mixed" or (clip and precision == "bf16-mixed")
    if optimizer.name in FUSED and not refused:
        return "fused"
    return "foreach" if accelerator == "gpu" else "single"


def need(optimizer: learning.Optimizer, how: Loop) -> Need:
    """State and temporaries of a rule, as torch.optim writes it down."""
    one = how == "single"
    decayed = int(optimizer.weight_decay > 0 and optimizer.name != "adamw")  # gradients, copied
    if isinstance(optimizer, learning.Sgd):
        momentum = int(optimizer.momentum > 0)
        ahead = int(one and momentum and optimizer.nesterov)  # foreach adds to the gradients
        return Need(momentum, 0, decayed + ahead, 0)
    if isinstance(optimizer, learning.RmsProp):
        kept = 1 + int(optimizer.momentum > 0) + int(optimizer.centered)
        return Need(kept, COUNTER, decayed + 1, int(one))
    return Need(2, COUNTER, decayed + 2 if one else 1, int(one))


def state(optimizer: learning.Optimizer, sizes: Sequence[int], counter: int = COUNTER) -> int:
    """Bytes that the rule keeps for parameters of these sizes in bytes.

    `counter` is what its step count takes on the device, if it has one.
    """
    wanted = need(optimizer, "single")
    return wanted.kept * sum(sizes) + (counter if wanted.counter else 0) * len(sizes)


def temporaries(optimizer: learning.Optimizer, sizes: Sequence[int], how: Loop) -> int:
    """Bytes that one step needs for a moment; sizes in bytes, in the order of the parameters."""
    if how == "fused" or not sizes:
        return 0
    wanted = need(optimizer, how)
    if how == "foreach":
        return wanted.working * sum(sizes)
    return max(
        wanted.working * size + wanted.left * before for before, size in pairwise([0, *sizes])
    )
