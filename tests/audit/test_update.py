from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cnnctl.audit import update
from cnnctl.audit.live import Live
from cnnctl.config import learning
from cnnctl.training import optimizers

PLAIN: dict[str, Any] = {
    "lr": 0.1, "scaling": "none", "reference_batch": 1, "decay_norms": True, "layer_decay": None,
}  # fmt: skip
SHAPES = [(10, 30), (7,), (100,), (20, 20), (3, 3)]


def sgd(**changes: Any) -> learning.Sgd:
    numbers: dict[str, Any] = {"weight_decay": 0.0, "momentum": 0.0, "nesterov": False}
    return learning.Sgd(name="sgd", **PLAIN, **numbers | changes)


def adam(name: str = "adam", **changes: Any) -> learning.Adam:
    numbers: dict[str, Any] = {"weight_decay": 0.0, "betas": (0.9, 0.999), "eps": 1e-8}
    return learning.Adam(name=name, **PLAIN, **numbers | changes)


def rmsprop(**changes: Any) -> learning.RmsProp:
    numbers: dict[str, Any] = {
        "weight_decay": 0.0, "alpha": 0.9, "eps": 1e-8, "momentum": 0.0, "centered": False,
    }  # fmt: skip
    return learning.RmsProp(name="rmsprop", **PLAIN, **numbers | changes)


DECAY = (0.0, 0.1)
RULES: list[learning.Optimizer] = [
    *(sgd(weight_decay=decay) for decay in DECAY),
    *(sgd(weight_decay=decay, momentum=0.9, nesterov=n) for decay in DECAY for n in (False, True)),
    *(adam(name, weight_decay=decay) for name in ("adam", "adamw") for decay in DECAY),
    *(
        rmsprop(weight_decay=decay, momentum=momentum, centered=centered)
        for decay, momentum, centered in product(DECAY, (0.0, 0.9), (False, True))
    ),
]
LOOPS: tuple[update.Loop, ...] = ("fused", "single", "foreach")
CASES = [(rule, how) for rule in RULES for how in LOOPS if how != "fused" or rule.name != "rmsprop"]


def told(value: Any) -> str:
    if isinstance(value, str):
        return value
    own = ("weight_decay", "momentum", "nesterov", "centered")
    return "-".join([value.name, *(key for key in own if getattr(value, key, 0))])


class Watch(TorchDispatchMode):
    """Counts what the operations of torch's optimizers make."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self.live = live

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(value, Tensor):
                self.live.add(value, "temporaries")
        return out


def build(
    rule: learning.Optimizer, parameters: list[nn.Parameter], how: update.Loop
) -> torch.optim.Optimizer:
    """As training builds it, in the loop that is wanted."""
    made = optimizers.build(rule, parameters, rule.lr, fused=how == "fused")
    if how != "fused":
        made.param_groups[0]["foreach"] = how == "foreach"
    return made


def tensors(made: torch.optim.Optimizer) -> list[Tensor]:
    kept = [value for state in made.state.values() for value in state.values()]
    return [value for value in kept if isinstance(value, Tensor)]


def measured(
    rule: learning.Optimizer, shapes: Sequence[tuple[int, ...]], how: update.Loop, kind: torch.dtype
) -> tuple[int, int]:
    """Bytes of the state after one step, and the most that the second step has beside it."""
    parameters = [nn.Parameter(torch.randn(shape, dtype=kind)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    made = build(rule, parameters, how)
    made.step()
    live = Live()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for value in (*parameters, *gradients, *tensors(made)):
        live.add(value, "standing")
    standing = live.bytes
    with Watch(live):
        made.step()
    return sum(value.nbytes for value in tensors(made)), live.peak.bytes - standing


def predicted(
    rule: learning.Optimizer, shapes: Sequence[tuple[int, ...]], how: update.Loop, kind: torch.dtype
) -> tuple[int, int]:
    sizes = [torch.Size(shape).numel() * kind.itemsize for shape in shapes]
    return update.state(rule, sizes), update.temporaries(rule, sizes, how)


@pytest.mark.parametrize(("rule", "how"), CASES, ids=told)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_state_and_temporaries_are_those_of_torch_optim(rule, how, kind) -> None:
    assert predicted(rule, SHAPES, how, kind) == measured(rule, SHAPES, how, kind)


SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(SIZES, st.sampled_from(CASES))
def test_whatever_the_sizes_and_their_order(shapes, case) -> None:
    rule, how = case
    found = measured(rule, shapes, how, torch.float32)
    assert predicted(rule, shapes, how, torch.float32) == found


def test_what_is_left_of_the_parameter_before_counts() -> None:
    rising, apart = [4, 40, 400], [400, 4, 300]
    assert update.temporaries(rmsprop(), rising, "single") == 400 + 40
    assert update.temporaries(rmsprop(), apart, "single") == 400 + 4
    assert update.temporaries(adam(), rising, "single") == 2 * 400 + 40
    assert update.temporaries(adam(), apart, "single") == 2 * 400
    assert update.temporaries(sgd(weight_decay=0.1), rising, "single") == 400


def test_one_kernel_needs_nothing_and_nothing_needs_nothing() -> None:
    assert update.temporaries(adam(weight_decay=0.1), [400], "fused") == 0
    for how in LOOPS:
        assert update.temporaries(adam(), [], how) == 0
    assert update.state(adam(), []) == 0


def test_a_counter_on_a_gpu_takes_a_block_or_lives_elsewhere() -> None:
    assert update.state(adam(), [512, 1024]) == 2 * 1536 + 2 * 4
    assert update.state(adam(), [512, 1024], counter=512) == 2 * 1536 + 2 * 512
    assert update.state(adam(), [512, 1024], counter=0) == 2 * 1536
    assert update.state(sgd(momentum=0.9), [512, 1024], counter=512) == 1536


def test_clipping_in_mixed_precision_needs_gradients_before_the_step() -> None:
    assert update.loop(adam(), "bf16-mixed", "cpu", clip=True) == "single"
    assert update.loop(adam(), "bf16-mixed", "gpu", clip=True) == "foreach"
    assert update.loop(adam(), "32-true", "cpu", clip=True) == "fused"


@pytest.mark.parametrize(
    ("rule", "precision", "accelerator", "how"),
    [
        (sgd(), "32-true", "cpu", "fused"),
        (adam(), "bf16-mixed", "gpu", "fused"),
        (adam("adamw"), "16-true", "cpu", "fused"),
        (rmsprop(), "32-true", "cpu", "single"),
        (rmsprop(), "32-true", "gpu", "foreach"),
        (adam(), "16-mixed", "cpu", "single"),
        (sgd(), "16-mixed", "gpu", "foreach"),
        (rmsprop(), "32-true", "mps", "single"),
    ],
)
def test_the_loop_is_the_one_that_training_takes(rule, precision, accelerator, how) -> None:
    assert update.loop(rule, precision, accelerator) == how


@pytest.mark.parametrize("rule", RULES, ids=told)
def test_training_builds_the_loop_that_is_foretold(rule) -> None:
    parameters = [nn.Parameter(torch.zeros(2))]
    how = update.loop(rule, "32-true", "cpu")
    made = optimizers.build(rule, parameters, rule.lr, fused=True)
    group = made.param_groups[0]
    assert bool(group.get("fused")) == (how == "fused")
    assert group["foreach"] is None  # torch decides: on a CPU one parameter after the other


def test_every_rule_that_can_be_configured_is_here() -> None:
    assert {rule.name for rule in RULES} == set(learning.OPTIMIZERS) == set(optimizers.OPTIMIZERS)
    assert update.FUSED == optimizers.FUSED
