"""Files of nets for masks, in every format, against the net itself on images of many sizes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from exports import cpu, manifest
from torch import Tensor

from cnnctl.errors import CheckpointError
from cnnctl.export import make, onnx, torch_export, torchscript
from cnnctl.export.program import Program
from cnnctl.export.silence import quiet
from cnnctl.manifest import Manifest
from cnnctl.nets.segmenter import Segmenter
from cnnctl.scoring import exported

WRITERS: dict[str, Any] = {
    "onnx": onnx.write, "torch_export": torch_export.write, "torchscript": torchscript.write,
}  # fmt: skip
WAYS = ("nearest", "bilinear", "bicubic", "transposed", "unpool")
STAGES = [["conv3-3", "conv3-3"], ["conv3-4"]]
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {"widths": [3, 4, 5]}),
    **{way: ("unet_same", {"widths": [3, 4, 5], "upsample": way}) for way in WAYS},
    **{f"segnet {way}": ("segnet", {"stages": STAGES, "upsample": way}) for way in WAYS},
}
SIZES = ((1, 32, 32), (3, 21, 58), (2, 1, 1), (1, 70, 9))
QUICK = {("unet", "onnx"), ("unet", "torch_export"), ("unpool", "onnx")}


def net(name: str) -> Segmenter:
    family, changes = NETS[name]
    torch.manual_seed(0)
    made = zoo.build(family, (3, 32, 32), 4, **changes).eval()
    assert isinstance(made, Segmenter)
    return made


def about(made: Segmenter, kind: str, *include: str) -> Manifest:
    return manifest(
        format=kind, include=include, channels=3, size=32, classes=("a", "b", "c", "d"),
        mean=(0.5,) * 3, std=(0.25,) * 3, **make._sides(made),
    )  # fmt: skip


def written(made: Segmenter, told: Manifest) -> Any:
    suffix = {"onnx": ".onnx", "torch_export": ".pt2", "torchscript": ".torchscript"}[told.format]
    file = Path(f"net{suffix}")
    with quiet():
        WRITERS[told.format](Program(copy.deepcopy(made), told), told, file)
    train, device = cpu("model=unet_small", "data=shapes", "data.size=32")
    train = type(train)(**{**train.__dict__, "data": _data(train.data)})
    return exported.load(file, told, train, device)


def _data(data: Any) -> Any:
    return type(data)(**{**data.__dict__, "mean": (0.5,) * 3, "std": (0.25,) * 3})


def cases() -> list[Any]:
    found = []
    for name in NETS:
        for kind in WRITERS:
            for include in (("preprocess", "softmax"), ()):
                slow = kind != "torchscript" and ((name, kind) not in QUICK or not include)
                marks = pytest.mark.slow if slow else ()
                found.append(pytest.param(name, kind, include, marks=marks))
    return found


@torch.inference_mode()
def wanted(made: Segmenter, images: Tensor) -> Tensor:
    return made((images / 255 - 0.5) / 0.25)


@pytest.mark.parametrize(("name", "kind", "include"), cases())
def test_the_file_gives_the_masks_of_the_net(
    name: str, kind: str, include: tuple[str, ...]
) -> None:
    made = net(name)
    scorer = written(made, about(made, kind, *include))
    for count, height, width in SIZES:
        images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)
        found, its = scorer(images), wanted(made, images)
        assert found.shape == its.shape
        if include:
            found, its = found.softmax(1), its.softmax(1)
        torch.testing.assert_close(found, its, atol=2e-4 * max(1, float(its.abs().max())), rtol=0)


def test_a_file_of_one_image_at_a_time_is_asked_one_by_one() -> None:
    made = net("nearest")
    told = about(made, "torchscript", "preprocess")
    told = Manifest(**{**told.__dict__, "dynamic_batch": False})
    images = torch.randint(0, 256, (3, 3, 20, 33), dtype=torch.uint8)
    found = written(made, told)(images)
    torch.testing.assert_close(found, wanted(made, images), atol=1e-4, rtol=1e-3)


def test_the_loss_of_a_file_is_that_of_the_pixels_that_count() -> None:
    made = net("nearest")
    scorer = written(made, about(made, "torchscript", "preprocess", "softmax"))
    logits = torch.randn(2, 4, 5, 6)
    masks = torch.randint(0, 4, (2, 1, 5, 6), dtype=torch.uint8)
    masks[:, :, 2:4] = 255
    loss = scorer.loss(logits, masks)
    counted = masks[:, 0] != 255
    chances = logits.softmax(1).movedim(1, -1)[counted]
    labels = masks[:, 0][counted].long()
    by_hand = -chances[torch.arange(len(labels)), labels].log().mean()
    torch.testing.assert_close(loss, by_hand)
    masks[:] = 255
    assert float(scorer.loss(logits, masks)) == 0


def test_a_file_that_gives_something_else_is_refused() -> None:
    made = net("nearest")
    scorer = written(made, about(made, "torchscript", "preprocess"))
    scorer.run = lambda images: torch.zeros(len(images), 4)
    with pytest.raises(CheckpointError, match="4 numbers for an image"):
        scorer(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("name", NETS)
def test_the_manifest_counts_sides_as_the_net_does(name: str) -> None:
    made = net(name)
    told = about(made, "onnx")
    for length in range(1, 150):
        assert told.side(length) == made.side(length)
