from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from zoo import build

from cnnctl.audit import ghost as ghosts
from cnnctl.audit.forward import forward
from cnnctl.audit.ghost import autocast, ghost
from cnnctl.audit.step import Setting, measure
from cnnctl.config.learning import Sgd
from cnnctl.config.schema import Precision

aten = torch.ops.aten
PLAIN = Sgd(
    name="sgd", lr=0.1, weight_decay=0, scaling="none", reference_batch=1, momentum=0.9,
    decay_norms=True, layer_decay=None,
    nesterov=False,
)  # fmt: skip
SHAPE = (3, 8, 8)


class Odd(nn.Module):
    """A net with all that is easily broken."""

    def __init__(self, fails: str = "") -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout())
        self.frozen = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.tied = nn.Conv2d(4, 4, 1)
        self.tied.weight = self.frozen[0].weight
        self.scale = nn.Parameter(torch.ones(4, 1, 1), requires_grad=False)
        self.register_buffer("shift", torch.zeros(4, 1, 1))
        self.register_buffer("secret", torch.arange(3), persistent=False)
        self.head = nn.Linear(4, 5)
        self.fails = fails

    def forward(self, image: Tensor) -> Tensor:
        chance = random.gauss(0, 1) + np.random.rand()  # noqa: NPY002 - as old code does
        value = self.first(image) * chance + torch.rand(4, 1, 1, device="cpu").to(image)
        value = self.tied(self.frozen(value)) * self.scale + self.shift
        if self.fails:
            raise ValueError(self.fails)
        return self.head(value.mean((2, 3)))


def odd(fails: str = "") -> Odd:
    net = Odd(fails).train()
    net.frozen.eval()
    net.frozen[0].bias.requires_grad_(False)  # noqa: FBT003 - torch's signature
    net.first.register_forward_hook(lambda *_: None)
    net.head.register_forward_pre_hook(lambda *_: None)
    net.head.register_full_backward_hook(lambda *_: None)
    net(torch.rand(2, *SHAPE)).sum().backward() if not fails else None
    return net


HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]
GLOBAL = [name for name in vars(torch_module) if name.startswith("_global_") and "hook" in name]


def numbers(value: Tensor | None) -> Any:
    if value is None:
        return None
    return value.data_ptr(), value.dtype, value.device, value.detach().clone().tolist()


def surroundings() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],  # noqa: NPY002 - as old code does
        "device": torch.get_default_device(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "modes": _get_current_dispatch_mode_stack(),
        "hooks": {name: dict(getattr(torch_module, name) or {}) for name in GLOBAL},
    }


def look(net: nn.Module) -> dict[str, Any]:
    """All that must not change."""
    return surroundings() | {
        "keys": list(net.state_dict()),
        "values": {name: numbers(value) for name, value in net.state_dict().items()},
        "tensors": [
            (name, id(value), numbers(value), value.requires_grad,
             id(value.grad), numbers(value.grad), dict(value._backward_hooks or {}), value.grad_fn,
             getattr(value, "_post_accumulate_grad_hooks", None))
            for name, value in (*net.named_parameters(), *net.named_buffers())
        ],
        "training": [module.training for module in net.modules()],
        "module hooks": [
            {name: dict(getattr(module, name)) for name in HOOKS} for module in net.modules()
        ],
        "attributes": [sorted(vars(module)) for module in net.modules()],
    }  # fmt: skip


def trained(precision: Precision) -> Callable[[nn.Module], Any]:
    return lambda net: measure(net, SHAPE, Setting(4, PLAIN, precision))


LOOKS = {
    "forward": lambda net: forward(net, SHAPE),
    **{precision: trained(precision) for precision in get_args(Precision)},
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_net_is_left_as_it_was(name) -> None:
    torch.manual_seed(1)
    net = odd()
    before = look(net)
    assert len(before["values"]) == 20
    assert LOOKS[name](net)
    assert look(net) == before
    assert net.tied.weight is net.frozen[0].weight


@pytest.mark.parametrize("name", LOOKS)
def test_a_net_that_fails_is_left_as_it_was(name) -> None:
    net = odd("no luck")
    before = look(net)
    with pytest.raises(Exception, match="no luck"):
        LOOKS[name](net)
    assert look(net) == before


def test_a_net_of_the_zoo_is_left_as_it_was() -> None:
    net = build("lenet5")
    before = look(net)
    forward(net, (1, 32, 32))
    measure(net, (1, 32, 32), Setting(2, PLAIN, "bf16-mixed"))
    assert look(net) == before


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_double_works_in_the_mode_that_is_asked_for(mode) -> None:
    net = odd()
    with ghost(net, mode) as double:
        assert {module.training for module in net.modules()} == {mode == "train"}
        out = double(double.images((2, *SHAPE)))
        assert (out.shape, out.device.type) == ((2, 5), "meta")
    assert not net.frozen.training
    assert net.first.training


@pytest.mark.parametrize(
    ("precision", "kind", "device", "given"),
    [
        ("32-true", torch.float32, "meta", torch.float32),
        ("64-true", torch.float64, "meta", torch.float64),
        ("16-true", torch.float16, "meta", torch.float16),
        ("bf16-true", torch.bfloat16, "meta", torch.bfloat16),
        ("16-mixed", torch.float32, "cpu", torch.float16),
        ("bf16-mixed", torch.float32, "cpu", torch.bfloat16),
    ],
)
def test_precision_decides_the_types(precision, kind, device, given) -> None:
    net = odd().double()
    with ghost(net, "train", precision) as double, autocast(precision):
        image = double.images((2, *SHAPE))
        assert (image.dtype, image.device.type) == (kind, device)
        assert {p.dtype for p in double.parameters.values()} == {kind}
        assert {name: b.dtype for name, b in double.buffers.items()} == {
            **{name: kind for name, b in net.named_buffers() if b.is_floating_point()},
            **{name: torch.int64 for name, b in net.named_buffers() if not b.is_floating_point()},
        }
        assert double(image).dtype == given
    assert {p.dtype for p in net.parameters()} == {torch.float64}


def test_the_double_allocates_nothing() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 10**9))
    for precision in get_args(Precision):
        with ghost(net, "train", precision) as double:
            assert double(double.images((100, *SHAPE))).shape == (100, 10**9)


def test_tied_weights_stay_one_and_what_does_not_learn_stays_so() -> None:
    net = odd()
    with ghost(net, "train") as double:
        assert double.parameters["tied.weight"] is double.parameters["frozen.0.weight"]
        assert [name for name, value in double.parameters.items() if not value.requires_grad] == [
            "scale", "frozen.0.bias",
        ]  # fmt: skip
        assert set(double.buffers) == {name for name, _ in net.named_buffers()}


def given(*shape: int, **options: Any) -> Tensor:
    return torch.empty(*shape, device="meta", **options)


def test_gradients_that_meet_take_no_room_of_their_own() -> None:
    left, right = given(2, 3), given(2, 3)
    assert ghosts.run(aten.add.Tensor, (left, right), None, backward=True) is left
    part = given(4, 3)[:2]
    assert ghosts.run(aten.add.Tensor, (part, right), None, backward=True) is right
    new = ghosts.run(aten.add.Tensor, (part, given(4, 3)[2:]), None, backward=True)
    assert new.untyped_storage().nbytes() == 24


@pytest.mark.parametrize(
    "args", [(given(2, 3), given(3)), (given(2, 3), 1.0), (given(1), given(1, dtype=torch.int64))]
)
def test_other_sums_make_something_new(args) -> None:
    for backward in (True, False):
        out = ghosts.run(aten.add.Tensor, args, None, backward=backward)
        assert all(out is not value for value in args)
    assert ghosts.run(aten.add.Tensor, (args[0], args[0]), None) is not args[0]


@pytest.mark.parametrize("training", [True, False])
def test_fake_statistics_of_a_batch_are_as_large_as_real_ones(training) -> None:
    def made(device: str) -> list[tuple[torch.Size, torch.dtype]]:
        image = torch.zeros(2, 4, 3, 3, dtype=torch.bfloat16, device=device)
        weight = torch.ones(4, device=device)
        args = (image, weight, weight, weight, weight, training, 0.1, 1e-5)
        out = ghosts.run(aten.native_batch_norm.default, args, None)
        return [(value.shape, value.dtype) for value in out]

    real = made("cpu")
    with ghosts._fakes(wanted=True):
        assert made("cpu") == real
    assert [kind for _, kind in real] == [torch.bfloat16, torch.float32, torch.float32]
