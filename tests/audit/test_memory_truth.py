"""What is foretold for a training step against what torch's CPU allocator really gives.

Measured is the second step: in the first the optimizer gets its state.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
import torch
from allocator import changes
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.profiler import record_function
from zoo import build, on_meta, spec

from cnnctl.audit import update
from cnnctl.audit.step import Setting, measure
from cnnctl.config.learning import Adam, RmsProp, Sgd
from cnnctl.training import optimizers

PLAIN: dict[str, Any] = {
    "lr": 1e-3,
    "weight_decay": 1e-4,
    "scaling": "none",
    "reference_batch": 1,
    "decay_norms": True,
    "layer_decay": None,
}
SGD = Sgd(name="sgd", **PLAIN, momentum=0.9, nesterov=False)
ADAM = Adam(name="adam", **PLAIN, betas=(0.9, 0.999), eps=1e-8)
RMSPROP = RmsProp(name="rmsprop", **PLAIN, alpha=0.99, eps=1e-8, momentum=0, centered=False)
WAYS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": ADAM},
    "sgd": {"optimizer": SGD},
    "rmsprop": {"optimizer": RMSPROP},
    "bf16-mixed": {"optimizer": ADAM, "precision": "bf16-mixed"},
    "16-mixed": {"optimizer": ADAM, "precision": "16-mixed"},
    "64-true": {"optimizer": SGD, "precision": "64-true"},
    "channels_last": {"optimizer": SGD, "channels_last": True},
    "accumulate": {"optimizer": SGD, "accumulate": 2},
}
MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
SECOND = "the second step"


def loss_of(net: Any, images: Tensor, labels: Tensor) -> Tensor:
    outputs = net(images)
    return net.loss(outputs, labels) if hasattr(net, "loss") else cross_entropy(outputs, labels)


def taken(net: nn.Module, shape: tuple[int, int, int], setting: Setting, labels: Tensor) -> int:
    """The most bytes at one time in the second step, as `cnnctl train` makes it."""
    net = net.train().double() if setting.precision == "64-true" else net.train()
    images = torch.randn(setting.batch_size, *shape, dtype=next(net.parameters()).dtype)
    if setting.channels_last:
        images = images.to(memory_format=torch.channels_last)
    rule, kind = setting.optimizer, MIXED.get(setting.precision)
    how = update.loop(rule, setting.precision, "cpu")
    made = optimizers.build(rule, net.parameters(), rule.lr, fused=how == "fused")

    def closure() -> Tensor:
        with torch.autocast("cpu", kind) if kind else nullcontext():
            loss = loss_of(net, images, labels)
        if setting.accumulate == 1:
            made.zero_grad()
        loss.backward()
        return loss.detach()

    def steps() -> None:
        made.step(closure)
        with record_function(SECOND):
            made.step(closure)

    standing = (*net.parameters(), *net.buffers(), images, labels)
    older = sum(value.untyped_storage().nbytes() for value in standing)
    events = changes(steps)
    start = events.index(SECOND)
    sizes = [size if isinstance(size, int) else 0 for size in events]
    return max(accumulate(sizes[start:], initial=older + sum(sizes[:start])))


def compare(name: str, size: int | None, setting: Setting) -> float:
    """How far what is foretold for a net of the zoo is from the truth, as a share of it."""
    own = spec(name).input
    shape = (own[0], size or own[1], size or own[2])
    labels = torch.zeros(setting.batch_size, dtype=torch.int64)
    truth = taken(build(name, shape), shape, setting, labels)
    return measure(on_meta(name, shape), shape, setting).peak / truth - 1


SMALL = [
    ("densenet_bc100_12", None, 4), ("mobilenet_v2", 64, 8), ("shufflenet_v2_x0_5", 64, 8),
    ("nin_cifar", None, 8),
]  # fmt: skip
LARGE = (
    "vgg16", "resnet50", "googlenet", "efficientnet_b0", "densenet121", "alexnet", "inception_v3",
)  # fmt: skip


@pytest.mark.parametrize(("name", "size", "batch"), SMALL, ids=str)
def test_the_peak_of_a_small_net_is_foretold_within_a_hundredth(name, size, batch) -> None:
    assert abs(compare(name, size, Setting(batch, ADAM))) < 0.01


@pytest.mark.parametrize(
    ("name", "batch", "way"),
    [
        *(("lenet5", 64, way) for way in WAYS),
        *(("resnet20", 32, way) for way in ("adam", "rmsprop", "bf16-mixed", "channels_last")),
    ],
)
def test_however_the_step_is_made(name, batch, way) -> None:
    assert abs(compare(name, None, replace(Setting(batch, ADAM), **WAYS[way]))) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("way", ["adam", "sgd", "rmsprop", "bf16-mixed", "channels_last"])
@pytest.mark.parametrize("name", LARGE)
def test_the_peak_of_a_large_net_is_foretold_within_a_hundredth(name, way) -> None:
    assert abs(compare(name, None, replace(Setting(4, ADAM), **WAYS[way]))) < 0.01


class Pair(nn.Sequential):
    """Two convolutions without padding, each with ReLU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        first, second = nn.Conv2d(c_in, c_out, 3), nn.Conv2d(c_out, c_out, 3)
        super().__init__(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Ronneberger et al. 2015, figure 1: (B, 1, H, W) -> logits (B, 2, h, w); `width` there 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        falling = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.down = nn.ModuleList(map(Pair, [1, *widths], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(*pair, 2, 2) for pair in falling)
        self.join = nn.ModuleList(Pair(*pair) for pair in falling)
        self.pool, self.last = nn.MaxPool2d(2), nn.Conv2d(width, 2, 1)

    def forward(self, value: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for pair in self.down:
            value = pair(self.pool(value) if kept else value)
            kept.append(value)
        for up, join, wide in zip(self.up, self.join, kept[-2::-1], strict=True):
            value = up(value)
            edge, side = (wide.shape[2] - value.shape[2]) // 2, value.shape[2]
            crop = wide[:, :, edge : edge + side, edge : edge + side]
            value = join(torch.cat([crop, value], 1))
        return self.last(value)


@pytest.mark.parametrize(
    ("width", "side", "batch", "way"),
    [
        *((8, 252, 2, way) for way in ("adam", "rmsprop", "bf16-mixed", "channels_last")),
        (16, 188, 4, "adam"),
    ],
)
def test_the_peak_of_a_u_net_is_foretold_within_a_hundredth(width, side, batch, way) -> None:
    setting = replace(Setting(batch, ADAM), **WAYS[way])
    shape = (1, side, side)
    labels = torch.zeros(batch, side - 184, side - 184, dtype=torch.int64)
    truth = taken(UNet(width), shape, setting, labels)
    found = measure(UNet(width), shape, setting)
    assert abs(found.peak / truth - 1) < 0.01
    assert found.phase == "backward" or width == 16


STAGES = [["conv3-8", "conv3-8"], ["conv3-16", "conv3-16"], ["conv3-32"]]
FCN: dict[str, Any] = {"stages": STAGES, "hidden": [64], "field": 5, "padding": 50}
LEVELS: dict[str, Any] = {"widths": [8, 16, 32]}
MASKED = [
    *(("unet", LEVELS, way) for way in ("adam", "channels_last", "bf16-mixed")),
    *(("unet_same", LEVELS | {"upsample": up}, way)
      for up in ("nearest", "bilinear", "bicubic", "transposed", "unpool")
      for way in ("adam", "channels_last")),
    *(("segnet", {"stages": STAGES, "upsample": up}, way)
      for up in ("unpool", "transposed") for way in ("adam", "channels_last")),
    ("fcn8s", FCN, "adam"), ("fcn8s", FCN | {"upsample": "bilinear"}, "adam"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "way"), MASKED)
def test_the_peak_of_a_net_for_masks_is_foretold_within_a_hundredth(name, changes, way) -> None:
    setting, shape = replace(Setting(8, ADAM), **WAYS[way]), (3, 52, 52)
    labels = torch.zeros(8, 1, 52, 52, dtype=torch.uint8)
    truth = taken(build(name, shape, 4, **changes), shape, setting, labels)
    found = measure(on_meta(name, shape, 4, **changes), shape, setting)
    assert abs(found.peak / truth - 1) < 0.01
