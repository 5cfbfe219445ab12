"""Small nets, manifests and files as `cnnctl export` makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import zoo
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.batchnorm import _BatchNorm

from cnnctl import devices
from cnnctl.cli import main
from cnnctl.config import compose
from cnnctl.devices import Device
from cnnctl.export.program import Program
from cnnctl.manifest import Manifest
from cnnctl.nets.net import Net

BOTH = ("preprocess", "softmax")


def trained(outputs: Path, *words: str) -> Path:
    """A run of LeNet-5 on digits, one epoch long, or of what `words` say."""
    few = () if any("trainer." in word for word in words) else ("trainer.max_epochs=1",)
    plain = ("hardware=cpu", "progress=none", f"outputs={outputs}")
    assert main(["train", *words, *few, *plain]) == 0
    (run,) = outputs.glob("train/*")
    return run


def net(
    name: str = "lenet5", shape: tuple[int, int, int] | None = None, classes: int | None = None
) -> Net:
    """With random weights, always the same."""
    torch.manual_seed(0)
    return zoo.build(name, shape, classes).eval()


def calibrated(made: Net, shape: tuple[int, int, int]) -> Net:
    """The net with statistics of smooth images in it, as training leaves them.

    They are in its batch norms, or, of a net without any, in its weights and biases. Those of a new
    net say little: deep nets give numbers of any size, or one answer whatever the image.
    """
    norms = [layer for layer in made.modules() if isinstance(layer, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    layers = [layer for layer in made.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(_levelled) for layer in layers if not norms]
    made.train(bool(norms))
    torch.manual_seed(0)
    with torch.no_grad():
        for count in (4, 5) if norms else (16,):
            made((pixels(count, *shape) / 255 - 0.5) / 0.25)
    for hook in hooks:
        hook.remove()
    return made.eval()


def _levelled(layer: nn.Conv2d | nn.Linear, _: Any, found: Tensor) -> Tensor:
    """Make mean and deviation of every channel 0 and 1 over these images."""
    axes = [axis for axis in range(found.dim()) if axis != 1]
    std = found.std(axes).clamp(min=1e-3)
    layer.weight.div_(std.view(-1, *[1] * (layer.weight.dim() - 1)))
    mean = torch.zeros_like(std)
    if layer.bias is not None:
        mean = found.mean(axes)
        layer.bias.copy_((layer.bias - mean) / std)
    wide = (1, -1, *[1] * (found.dim() - 2))
    return (found - mean.view(wide)) / std.view(wide)


def manifest(name: str = "lenet5", **changes: Any) -> Manifest:
    """What a file of that net says of itself."""
    spec = zoo.spec(name)
    channels, size, _ = spec.input
    values: dict[str, Any] = {
        "format": "onnx", "model": name, "include": BOTH, "dynamic_batch": True,
        "precision": "fp32", "quantize": None,
        "classes": tuple(str(number) for number in range(spec.classes)),
        "channels": channels, "size": size, "mean": (0.5,) * channels, "std": (0.25,) * channels,
        "own_loss": False, "run": "outputs/train/run", "checkpoint": "best.ckpt",
        "weights_sha256": "0" * 64, "versions": {"cnnctl": "0"}, "config": {},
    }  # fmt: skip
    return Manifest(**values | changes)


def program(name: str = "lenet5", **changes: Any) -> tuple[Program, Manifest]:
    """A net with what its manifest puts around it."""
    about = manifest(name, **changes)
    return Program(net(name), about), about


def pixels(count: int, channels: int, height: int, width: int) -> Tensor:
    """uint8 images that are smooth, as photographs are: always the same."""
    generator = torch.Generator().manual_seed(count)
    coarse = torch.rand(count, channels, 5, 5, generator=generator) * 300 - 20
    return interpolate(coarse, (height, width), mode="bicubic").clamp(0, 255).to(torch.uint8)


def config(*overrides: str) -> dict[str, Any]:
    """As `cnnctl train` composes it."""
    with compose.opened():
        found, problems = compose.compose("train", ["hardware=cpu", *overrides])
    assert problems == []
    return found


def cpu(*overrides: str) -> tuple[Any, Device]:
    """The typed configuration, and the processor."""
    from cnnctl.commands.settle import settle

    train, _ = settle(config(*overrides), [])
    return train, devices.settle(train.hardware)
