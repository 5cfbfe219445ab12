"""Nets that torch itself writes as ONNX cost what they cost in torch."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from graphs import Found, audit, audited
from torch import Tensor, nn
from torch.nn import functional

pytestmark = [  # the older exporter's
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export"),
    pytest.mark.filterwarnings("ignore:The feature will be removed. Please remove usage"),
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean"),
    pytest.mark.filterwarnings("ignore:Constant folding - Only steps=1 can be constant folded"),
    pytest.mark.filterwarnings("ignore:ONNX export mode is set to TrainingMode.EVAL"),
]


def exported(net: nn.Module, shape: tuple[int, ...], file: Path, **options: Any) -> nn.Module:
    """Write a net with random weights: equal ones would be stored once, zeros left out."""
    torch.manual_seed(0)
    with torch.no_grad():
        for value in [*net.parameters(), *net.buffers()]:
            if value.is_floating_point():
                value.uniform_(0.5, 1.5)
    images = torch.rand(options.pop("batch", 1), *shape)
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(net.eval(), (images,), file, **options)
    return net


def weighty(found: Found) -> list[tuple[Any, ...]]:
    """What counts of the rows that multiply."""
    return [(row.macs, row.output, row.kind, row.form, row.field) for row in found.rows if row.macs]


def require_same(net: nn.Module, file: Path, shape: tuple[int, ...]) -> Found:
    """The same costs in ONNX, but for batch norms that the exporter folds.

    A fold makes 2C parameters into the C biases of a convolution that had none.
    """
    wanted, found = audited(net, shape), audit(file, shape)
    assert weighty(found) == weighty(wanted)
    assert found.output == wanted.output
    norms = sum(layer.num_features for layer in net.modules() if isinstance(layer, nn.BatchNorm2d))
    kept = sum(row.params // 2 for row in found.rows if row.type == "BatchNormalization")
    assert found.params == wanted.params - (norms - kept)
    return found


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("lenet5", 32), ("resnet20", 32), ("mobilenet_v2", 64), ("googlenet", 64),
        ("efficientnet_b0", 64), ("densenet_bc100_12", 32),
    ],
)  # fmt: skip
def test_nets_that_the_older_exporter_writes(name, size, tmp_path) -> None:
    shape = (zoo.spec(name).input[0], size, size)
    file = tmp_path / "net.onnx"
    require_same(exported(zoo.build(name, shape), shape, file, dynamo=False), file, shape)


@pytest.mark.parametrize(("name", "size"), [("resnet20", 32), ("googlenet", 64)])
def test_nets_that_the_newer_exporter_writes(name, size, tmp_path) -> None:
    shape = (3, size, size)
    file = tmp_path / "net.onnx"
    net = exported(zoo.build(name, shape), shape, file, dynamo=True, verbose=False)
    found = require_same(net, file, shape)
    layers = {row.name.rpartition(".")[0] for row in found.rows if row.macs}
    assert layers == {row.name for row in audited(net, shape).rows if row.macs}


class UNet(nn.Module):
    """Down and up again on two ways, with everything that such nets do to shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8, affine=True))
        self.deep = nn.Sequential(
            nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        )
        self.up = nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1)
        self.out = nn.Conv2d(32, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        high = functional.pad(self.down(image), (1, 0, 1, 0))[:, :, 1:, 1:]
        low = self.deep(high)
        large = [
            functional.interpolate(low, size=image.shape[-2:], mode="bilinear"),
            functional.interpolate(low[:, :8], scale_factor=2.0) * torch.sigmoid(high),
        ]
        first, second = large[1].chunk(2, 1)
        return self.out(torch.cat([self.up(low), large[0], first, second.clamp(0, 6)], 1))


OPEN = {"batch": 2}
SIDES = {2: "height", 3: "width"}
WAYS: dict[str, dict[str, Any]] = {
    "older": {"dynamo": False},
    "older, any size": OPEN
    | {"dynamo": False, "input_names": ["image"], "dynamic_axes": {"image": {0: "batch", **SIDES}}},
    "newer": {"dynamo": True, "verbose": False},
    "newer, any batch": OPEN
    | {"dynamo": True, "verbose": False, "dynamic_shapes": ({0: "batch"},)},
    "newer, fixed batch": {"batch": 4, "dynamo": True, "verbose": False},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_net_that_goes_down_and_up_again(way, tmp_path) -> None:
    file = tmp_path / "net.onnx"
    net = exported(UNet(), (3, 32, 32), file, **WAYS[way])
    found = require_same(net, file, (3, 32, 32))
    assert found.output == (2, 32, 32)
    if "size" in way:
        require_same(net, file, (3, 48, 64))


class Mixed(nn.Module):
    """Flattened by the size of the batch, with layers that ONNX writes in several nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, 4)
        self.norm = nn.LayerNorm(8)
        self.wide = nn.Linear(8, 32)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.back = nn.Linear(32, 8)
        self.act = nn.PReLU(8)
        self.fc = nn.Linear(8 * 8 * 8, 10, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        value = self.conv(image)
        more = self.back(functional.gelu(self.wide(self.norm(value.permute(0, 2, 3, 1)))))
        value = self.act(value + self.scale * more.permute(0, 3, 1, 2))
        value = value.view(value.size(0), 2, 4, 8, 8).transpose(1, 2).reshape(value.size(0), -1)
        return functional.log_softmax(self.fc(value), 1)


@pytest.mark.parametrize(
    "way",
    [
        {"dynamo": False, "batch": 3}, {"dynamo": False, "opset_version": 11},
        {"dynamo": True, "verbose": False, "batch": 3},
    ],
    ids=["older, fixed batch", "older, opset 11", "newer, fixed batch"],
)  # fmt: skip
def test_dense_layers_on_maps_and_shapes_by_hand(way, tmp_path) -> None:
    file = tmp_path / "net.onnx"
    net = exported(Mixed(), (3, 32, 32), file, **way)
    wanted, found = audited(net, (3, 32, 32)), audit(file)
    assert found[:3] == wanted[:3]
    assert found.macs == 64 * 8 * 48 + 2 * 64 * 8 * 32 + 512 * 10
    assert [row.macs for row in found.rows if row.macs] == [24576, 16384, 16384, 5120]


def test_weights_are_in_a_second_file_that_need_not_be_there(tmp_path) -> None:
    file = tmp_path / "net.onnx"
    net = exported(zoo.build("lenet5"), (1, 32, 32), file, dynamo=True, verbose=False)
    data = tmp_path / "net.onnx.data"
    assert data.stat().st_size > 200_000
    data.unlink()
    require_same(net, file, (1, 32, 32))


def test_tensors_that_are_no_parameters_count_as_weights_all_the_same(tmp_path) -> None:
    file = tmp_path / "net.onnx"
    net = exported(zoo.build("lenet5_1998"), (1, 32, 32), file, dynamo=False)
    assert audit(file).params == audited(net, (1, 32, 32)).params + 84 * 10  # the codes
