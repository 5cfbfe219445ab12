"""Every net of the zoo as ONNX and as torch's program: the same answers as in torch."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch
import zoo
from exports import manifest, net, pixels

from cnnctl import devices
from cnnctl.config.schema import Hardware
from cnnctl.export import onnx, torch_export
from cnnctl.export.program import Program
from cnnctl.export.silence import quiet
from cnnctl.scoring import exported

WRITERS = {"onnx": (onnx.write, ".onnx"), "torch_export": (torch_export.write, ".pt2")}
COSTS = json.loads((files("cnnctl.nets") / "costs.json").read_text(encoding="utf-8"))
LAYERED = {  # slow to trace
    "densenet", "efficientnet", "googlenet", "inception", "mobilenet_v2", "shufflenet_v1",
    "shufflenet_v2", "xception",
}  # fmt: skip
HEAVY = {"alexnet", "vgg"}  # hundreds of MB


def smallest() -> set[str]:
    """The net of each family that multiplies least."""
    found: dict[str, str] = {}
    for name in sorted(zoo.FILES, key=lambda one: COSTS[one]["macs"]):
        found.setdefault(zoo.spec(name).family, name)
    return {name for family, name in found.items() if family not in LAYERED | HEAVY}


QUICK = smallest()


def cpu() -> devices.Device:
    return devices.settle(
        Hardware(
            name="cpu", accelerator="cpu", devices=1, num_nodes=1, precision="32-true",
            strategy="auto", sync_batchnorm=False, deterministic=True, matmul="highest",
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in zoo.FILES],
)
def test_every_net_is_the_same_in_every_format(tmp_path: Path, name: str) -> None:
    made = net(name)
    channels, size, _ = zoo.spec(name).input
    images = (pixels(3, channels, size, size) / 255 - 0.5) / 0.25
    with torch.no_grad():
        wanted = made(images)
    for kind, (write, suffix) in WRITERS.items():
        about = manifest(name, format=kind, include=())
        file = tmp_path / f"net{suffix}"
        with quiet():
            write(Program(made, about), about, file)
        run = exported.OPENERS[kind](file, cpu())
        for count in (3, 1):
            found = run(images[:count])
            assert torch.equal(found.argmax(1), wanted[:count].argmax(1))
            assert (found - wanted[:count]).abs().max() <= 1e-4 * wanted.abs().max()
        file.unlink()
