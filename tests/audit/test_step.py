from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.distributed
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from zoo import build, on_meta, spec

from cnnctl.audit import step, workspace
from cnnctl.audit.live import Live
from cnnctl.audit.step import Setting, measure
from cnnctl.config.learning import Sgd
from cnnctl.errors import NetError

PLAIN: dict[str, Any] = {
    "lr": 0.1,
    "weight_decay": 0,
    "scaling": "none",
    "reference_batch": 1,
    "decay_norms": True,
    "layer_decay": None,
}
SGD = Sgd(name="sgd", **PLAIN, momentum=0, nesterov=False)
MOMENTUM = Sgd(name="sgd", **PLAIN, momentum=0.9, nesterov=False)
GPU: dict[str, Any] = {"accelerator": "gpu"}  # the same on every CPU


def chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the kernels of a CPU take: no tensor shows it."""
    monkeypatch.setattr(step, "workspace", workspace.none)


class Watch(TorchDispatchMode):
    """Counts the storages of a step on real tensors."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self.live = live
        self.backward = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.backward and func is torch.ops.aten.add.Tensor:
            return _joined(*args)
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(value, Tensor):
                self.live.add(value, "made")
        return out


def _joined(first: Tensor, second: Tensor) -> Tensor:
    """In place, as gradients are added up where nothing watches."""
    whole = first.untyped_storage().nbytes() == first.nbytes
    return first.add_(second) if whole else second.add_(first)


def real(net: Any, shape: tuple[int, ...], setting: Setting) -> tuple[int, int]:
    """The peak, and what the forward pass leaves, in bytes: one step on real tensors."""
    live = Live()
    images = torch.randn(setting.batch_size, *shape, dtype=next(net.parameters()).dtype)
    if setting.channels_last:
        images = images.to(memory_format=torch.channels_last)
    labels = torch.zeros(setting.batch_size, dtype=torch.int64)
    for parameter in net.train().parameters():
        parameter.grad = torch.zeros(parameter.shape, dtype=parameter.dtype)
        live.add(parameter.grad, "gradients")
    for value in (*net.parameters(), *net.buffers(), images, labels):
        live.add(value, "standing")
    watch = Watch(live)
    mixed = setting.precision == "bf16-mixed"
    with watch:
        with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
            loss = net.loss(net(images), labels)
        kept = live.parts["made"]
        if setting.accumulate == 1:
            net.zero_grad()
        watch.backward = True
        loss.backward()
    return live.peak.bytes, kept


NETS = [
    ("lenet5", 32, {}), ("resnet20", 32, {}), ("googlenet", 64, {"aux": 0.3, "small_input": True}),
    ("mobilenet_v2", 64, {}), ("vgg_a", 32, {}), ("alexnet", 67, {}),
]  # fmt: skip


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(("name", "size", "changes"), NETS, ids=str)
def test_shapes_take_what_real_tensors_take(name, size, changes) -> None:
    shape = (spec(name).input[0], size, size)
    setting = Setting(4, SGD)
    found = measure(on_meta(name, shape, **changes), shape, setting)
    assert (found.peak, found.activations) == real(build(name, shape, **changes), shape, setting)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    "changes",
    [{"precision": "bf16-mixed"}, {"precision": "64-true"}, {"channels_last": True},
     {"accumulate": 2}, {"precision": "bf16-mixed", "channels_last": True}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["resnet20", "lenet5", "shufflenet_v2_x0_5"])
def test_however_the_step_is_made(name, changes) -> None:
    shape = (spec(name).input[0], 32, 32)
    setting = Setting(4, SGD, **changes)
    net = build(name, shape)
    net = net.double() if setting.precision == "64-true" else net
    found = measure(on_meta(name, shape), shape, setting)
    assert (found.peak, found.activations) == real(net, shape, setting)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("rule", [SGD, MOMENTUM], ids=["plain", "momentum"])
@pytest.mark.parametrize(("name", "size"), [("lenet5", 32), ("resnet20", 32), ("vgg_a", 32)])
def test_torchs_own_tracker_finds_the_same_peak(name, size, rule) -> None:
    if not torch.distributed.is_available():
        pytest.skip("torch was built without torch.distributed")
    from torch.distributed._tools.mem_tracker import MemTracker

    shape = (spec(name).input[0], size, size)
    with FakeTensorMode():
        net: Any = build(name, shape)
        images, labels = torch.empty(4, *shape), torch.zeros(4, dtype=torch.int64)
        made = torch.optim.SGD(net.parameters(), momentum=rule.momentum, foreach=False)

        def closure() -> Tensor:
            loss = net.loss(net(images), labels)
            made.zero_grad()
            loss.backward()
            return loss.detach()

        tracker = MemTracker()
        tracker.track_external(net, made, images, labels)
        with tracker:
            made.step(closure)
            tracker.reset_mod_stats()
            made.step(closure)
    (found,) = tracker.get_tracker_snapshot("peak").values()
    assert measure(on_meta(name, shape), shape, Setting(4, rule)).peak == found["Total"]


def test_a_gpu_gives_every_tensor_whole_blocks() -> None:
    net = chain(flat=nn.Flatten(), fc=nn.Linear(12, 3))
    found = measure(net, (3, 2, 2), Setting(1, MOMENTUM, **GPU))
    assert (found.weights, found.gradients, found.optimizer_state, found.batch) == (
        1024, 1024, 1024, 512,
    )  # fmt: skip
    assert all(size % 512 == 0 for size in (*found.parts.values(), found.activations))


def test_several_devices_hold_the_gradients_once_more() -> None:
    net = on_meta("lenet5")
    one, two = (measure(net, (1, 32, 32), Setting(8, SGD, devices=n)) for n in (1, 2))
    assert two.peak - one.peak == two.parts["buckets"] == two.gradients == one.gradients


def test_half_precision_halves_what_it_should() -> None:
    net, shape = on_meta("resnet20"), (3, 32, 32)
    whole, half, mixed = (
        measure(net, shape, Setting(8, SGD, precision, "gpu"))
        for precision in ("32-true", "bf16-true", "bf16-mixed")
    )
    assert mixed.weights == whole.weights
    assert half.activations < mixed.activations < 0.6 * whole.activations
    assert half.peak < mixed.peak < whole.peak


def test_a_batch_that_cannot_be_normalised_is_told() -> None:
    net = chain(pool=nn.AdaptiveAvgPool2d(1), norm=nn.BatchNorm2d(3), flat=nn.Flatten())
    with pytest.raises(NetError) as caught:
        measure(net, (3, 8, 8), Setting(1, SGD))
    text = "a batch of 1 cannot be trained on: Expected more than 1 value per channel when training"
    assert str(caught.value).startswith(text)
    assert str(caught.value).endswith("(a larger batch_size)")
    assert measure(net, (3, 8, 8), Setting(2, SGD)).peak


def test_a_net_without_anything_to_learn_is_told() -> None:
    net = chain(flat=nn.Flatten(), fc=nn.Linear(12, 3)).requires_grad_(requires_grad=False)
    with pytest.raises(NetError) as caught:
        measure(net, (3, 2, 2), Setting(1, SGD))
    assert str(caught.value) == (
        "no parameter of the net can be trained (requires_grad of all is false)"
    )


def test_frozen_layers_have_neither_gradients_nor_state() -> None:
    net = chain(flat=nn.Flatten(), first=nn.Linear(12, 5), fc=nn.Linear(5, 3))
    whole = measure(net, (3, 2, 2), Setting(2, MOMENTUM))
    net[1].requires_grad_(requires_grad=False)
    frozen = measure(net, (3, 2, 2), Setting(2, MOMENTUM))
    assert frozen.weights == whole.weights == 4 * (65 + 18)
    assert frozen.gradients == frozen.optimizer_state == 4 * 18
    assert frozen.walk.macs["backward"] == 2 * 15


@pytest.mark.parametrize("parts", [1, 3])
def test_logits_of_pixels_wait_no_longer_than_their_step(parts) -> None:
    shape, waiting = (1, 32, 32), {"figures": True, "accumulate": parts, **GPU}
    masks = on_meta("unet_same", shape, 3, widths=[2, 4])
    found = measure(masks, shape, Setting(4, SGD, **waiting)).parts["figures"]
    logits = 4 * 3 * 32 * 32 * 4
    assert found == logits * (parts - 1) + 512 * parts
    labels = measure(on_meta("lenet5"), shape, Setting(256, SGD, **waiting)).parts["figures"]
    assert labels == 256 * 10 * 4 * (2 * parts - 1) + 512 * parts


def test_what_the_classes_count_has_no_memory_either_and_is_put_back() -> None:
    net = on_meta("unet_same", (1, 32, 32), 3, widths=[2, 4])
    own = net.class_weights = torch.ones(3)
    for precision in ("32-true", "bf16-mixed"):
        found = measure(net, (1, 32, 32), Setting(2, SGD, precision))
        assert net.class_weights is own
        assert found.peak > 0
