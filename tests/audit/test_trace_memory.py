"""What a walk says about bytes: what is kept, and which layer is at work."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from zoo import on_meta, spec

from cnnctl.audit.ghost import Ghost, ghost
from cnnctl.audit.live import Live
from cnnctl.audit.trace import Trace

BATCH = 2


def chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


class Told(Trace):
    """Remembers where every operation was."""

    def __init__(self, double: Ghost, **options: Any) -> None:
        super().__init__(double, Live(), **options)
        self.told: list[tuple[str, str, str]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        self.told.append(self.place())
        return out


def step(net: nn.Module, shape: tuple[int, ...], **options: Any) -> Told:
    """Forward and backward on two images; what is kept is noted in between."""
    with ghost(net, "train") as double:
        made = Told(double, **options)
        live = made.live
        assert live is not None
        image = double.images((BATCH, *shape))
        for value in (*double.parameters.values(), *double.buffers.values(), image):
            live.add(value, "standing")
        with made.open():
            out = double(image)
            made.keep()
            made.kept = live.parts["activations"]
            made.phase = "backward"
            out.sum().backward()
    return made


def kept(made: Told) -> dict[str, int]:
    return {row.name: row.kept for row in made.walk.rows}


def test_each_row_says_what_it_keeps_for_the_backward_pass() -> None:
    net = chain(
        conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), act=nn.ReLU(), pool=nn.MaxPool2d(2),
        drop=nn.Dropout(), flat=nn.Flatten(), fc=nn.Linear(36, 5),
    )  # fmt: skip
    assert kept(step(net, (3, 8, 8))) == {
        "conv": BATCH * 4 * 36 * 4,  # what is to be normalised
        "norm": 2 * 4 * 4,  # mean and deviation of each channel; ReLU keeps its own result
        "act": BATCH * 4 * 36 * 4,
        "pool": BATCH * 4 * 9 * 8,  # where the greatest were, as int64
        "drop": 2 * BATCH * 36 * 4,  # what was dropped, and the image of the last layer
        "flat": 0,
        "fc": BATCH * 5 * 4,  # the result itself
    }


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "googlenet", "mobilenet_v2", "vgg_a_lrn"])
def test_what_the_rows_keep_is_what_is_alive(name) -> None:
    made = step(on_meta(name), spec(name).input)
    assert sum(kept(made).values()) == made.kept > 0


def test_what_was_freed_in_the_forward_pass_is_not_kept() -> None:
    made = step(chain(one=nn.Tanh(), two=nn.Tanh(), out=nn.Conv2d(1, 1, 1)), (1, 4, 4))
    size = BATCH * 16 * 4
    assert kept(made) == {"one": 0, "two": size, "out": size}


def test_no_row_keeps_a_parameter_or_the_image() -> None:
    made = step(chain(conv=nn.Conv2d(3, 4, 3, bias=False), flat=nn.Flatten()), (3, 3, 3))
    assert kept(made) == {"conv": BATCH * 4 * 4, "flat": 0}


class Block(nn.Module):
    """Two layers, and operations before, between and behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        value = F.relu(self.first(image.sin()))
        return self.second(value * 2).cos() + image


def test_every_operation_knows_its_phase_and_its_layer() -> None:
    told = step(chain(block=Block(), flat=nn.Flatten()), (3, 4, 4)).told
    forward = [place[1:] for place in told if place[0] == "forward" and place[2] != "detach"]
    assert forward == [
        ("block", "sin"), ("block.first", "convolution"), ("block", "relu"), ("block", "mul"),
        ("block.second", "convolution"), ("block", "cos"), ("block", "add"), ("flat", "view"),
    ]  # fmt: skip
    backward = [place[1:] for place in told if place[0] == "backward" and place[2] != "detach"]
    assert backward == [
        ("", "sum"), ("", "ones_like"), ("", "expand"), ("flat", "view"),
        ("block", "sin"), ("block", "neg"), ("block", "mul"),
        ("block.second", "convolution_backward"), ("block", "mul"),
        ("block", "threshold_backward"), ("block.first", "convolution_backward"),
    ]  # fmt: skip


def test_a_layer_that_is_used_again_is_at_work_in_both_places() -> None:
    act, conv = nn.Tanh(), nn.Conv2d(3, 3, 1)
    told = step(chain(a=act, one=conv, b=act, two=conv, c=act), (3, 2, 2)).told
    layers = [layer for phase, layer, op in told if phase == "backward" and "backward" in op]
    assert layers == ["a", "one", "a", "one"]  # of two names of one layer the first counts


def test_multiply_adds_are_told_by_phase() -> None:
    net = chain(conv=nn.Conv2d(4, 6, 3, groups=2), flat=nn.Flatten(), fc=nn.Linear(24, 5))
    conv, dense = BATCH * 4 * 6 * 18, BATCH * 24 * 5
    assert dict(step(net, (4, 4, 4)).walk.macs) == {
        "forward": conv + dense, "backward": conv + 2 * dense,  # no gradient of the images
    }  # fmt: skip


def test_workspaces_are_momentary_and_rise_the_peak_where_they_are() -> None:
    def workspace(func: Any, args: Any, out: Any) -> int:
        assert isinstance(out, (Tensor, tuple, list))
        return 10**6 if func is torch.ops.aten.convolution.default else 0

    net = chain(act=nn.Tanh(), conv=nn.Conv2d(3, 4, 3), last=nn.Tanh())
    live = step(net, (3, 8, 8), workspace=workspace).live
    assert live is not None
    conv = {"standing": 112 * 4 + BATCH * 192 * 4, "activations": BATCH * (192 + 144) * 4}
    live.peak.parts.pop("workspace")
    assert live.peak.parts == conv
    assert live.peak.bytes == sum(conv.values()) + 10**6
    assert live.parts["workspace"] == 0


def test_what_counts_as_nothing_is_not_counted() -> None:
    with ghost(chain(act=nn.ReLU()), "eval") as double, torch.no_grad():
        live = Live()
        made = Trace(double, live)
        with made.open():
            made.made = ""
            image = double.images((BATCH, 3))
            made.made = "activations"
            out = double(image)
    assert live.bytes == out.nbytes == 24


def test_hooks_are_gone_when_a_walk_is_over_and_when_it_fails() -> None:
    def fail(*_: Any) -> None:
        raise KeyError("no luck")

    net = chain(first=nn.ReLU(), block=chain(second=nn.ReLU()))
    net[1][0].register_forward_hook(fail)
    with ghost(net, "eval") as double:
        made = Trace(double)
        with pytest.raises(KeyError, match="no luck"), made.open():
            double(double.images((BATCH, 3)))
    assert made.frames == []
    assert [row.name for row in made.walk.rows] == ["first", "block.second"]
    assert not torch_module._global_forward_hooks
    assert not torch_module._global_forward_pre_hooks
