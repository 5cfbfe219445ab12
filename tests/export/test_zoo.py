"""Every net of the zoo in every format: the same answers as in torch."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from exports import calibrated, config, cpu, manifest, net, pixels

from cnnctl import data
from cnnctl.config.verbs import Export
from cnnctl.export import make, onnx, torch_export, torchscript
from cnnctl.export.make import Job
from cnnctl.export.program import Program
from cnnctl.export.silence import quiet
from cnnctl.manifest import SUFFIXES
from cnnctl.scoring import exported

WRITERS = {
    "onnx": onnx.write, "torch_export": torch_export.write, "torchscript": torchscript.write
}  # fmt: skip
COSTS = json.loads((files("cnnctl.nets") / "costs.json").read_text(encoding="utf-8"))
# without shortcuts, rounding grows in dozens of random layers; the class is the same
ROUNDED = {"plain44": 3e-4, "plain56": 1e-3, "inception_v4": 1e-3}
QUICK = {"lenet5", "resnet20"}
WHOLE = "cifar_fast"


def smallest() -> list[str]:
    """The net of each family that multiplies least."""
    found: dict[str, str] = {}
    for name in sorted(zoo.FILES, key=lambda one: COSTS[one]["macs"]):
        found.setdefault(zoo.spec(name).family, name)
    return sorted(found.values())


def marked(names: list[str], quick: set[str]) -> list[Any]:
    slow = pytest.mark.slow
    return [pytest.param(name, marks=[] if name in quick else slow) for name in names]


@pytest.mark.parametrize("name", marked(list(zoo.FILES), QUICK))
def test_every_net_is_the_same_in_every_format(tmp_path: Path, name: str) -> None:
    channels, size, _ = zoo.spec(name).input
    images = (pixels(3, channels, size, size) / 255 - 0.5) / 0.25
    made = calibrated(net(name), (channels, size, size))
    with torch.no_grad():
        wanted = made(images)
    largest = (wanted - wanted.mean(1, keepdim=True)).abs().max()
    largest = max(largest, wanted.abs().max() / 100)  # of -84.01 and -84.02 few digits are left
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3 * largest  # images make a difference
    best = wanted.topk(2).values
    tie = best[:, 0] - best[:, 1] < 2e-4 * largest
    for kind, write in WRITERS.items():
        about = manifest(name, format=kind, include=())
        file = tmp_path / f"net{next(end for end, one in SUFFIXES.items() if one == kind)}"
        with quiet():
            write(Program(made, about), about, file)
        run = exported.OPENERS[kind](file, cpu()[1])
        for count in (3, 1):
            found = run(images[:count])
            assert (tie[:count] | (found.argmax(1) == wanted[:count].argmax(1))).all()
            assert (found - wanted[:count]).abs().max() <= ROUNDED.get(name, 1e-4) * largest
        file.unlink()


@pytest.mark.parametrize("kind", list(WRITERS))
@pytest.mark.parametrize("name", marked(smallest(), {WHOLE}))
def test_a_net_of_every_family_is_exported_with_everything_in_it(name: str, kind: Any) -> None:
    """As the command does it, images of other sizes included."""
    channels, size, _ = zoo.spec(name).input
    own = ["optimizer=sgd", "optimizer.momentum=0", "optimizer.weight_decay=0"]
    of = [f"data.{key}={[0.5] * channels}" for key in ("mean", "std")]
    fake = ["data=fake", f"data.size={size}", f"data.channels={channels}", *of]
    words = [f"model={name}", *fake, *own]
    train, _ = cpu(*words)
    source = data.load(train.data)
    shape = (channels, size, size)
    made = calibrated(net(name, shape=shape, classes=len(source.classes)), shape)
    export = Export(
        checkpoint="best", format=kind, include=("preprocess", "softmax"), dynamic_batch=True,
        precision="fp32", quantize=None, images=8, tolerance=None, raw_tolerance=None, drop=0.02,
        output=None,
    )  # fmt: skip
    job = Job(
        export=export, train=train, config=config(*words), spec=zoo.spec(name),
        net=made, classes=source.classes, source=source, run="run",
        checkpoint="best.ckpt",
    )  # fmt: skip
    found = make.make(job, Path("out"), lambda *_: None)["parity"]
    assert found["n"] == 8
    assert found["error"] <= found["tolerance"] == 1e-4
    assert found["raw"]["error"] <= found["raw"]["tolerance"] == 1e-2
    assert found["raw"]["sizes"] > 1
