"""What is exported: the net, with as much around it as is wanted."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as config

from cnnctl.export.frame import Frame, Normalise, Restore, unpools
from cnnctl.export.preprocess import Preprocess
from cnnctl.manifest import PREPROCESS, SOFTMAX, Manifest
from cnnctl.nets.segmenter import Segmenter

SOME = 2  # images of the example: of one alone torch would take it that there is always one
STEPS = (2, 3)  # the same for a net for masks alone, in strides
ANY = (0, 1, 1)  # margin, least side and stride of a net that takes images of any size
ODD = (5, 9)  # pixels that the example is higher and wider than what the net takes


class Program(nn.Module):
    """Takes and gives what a manifest says; in between, the net in its precision.

    Resizing, normalising and what undoes it are float32 in any precision, and so is the softmax.
    """

    def __init__(self, net: nn.Module, manifest: Manifest) -> None:
        super().__init__()
        whole, (mean, std) = PREPROCESS in manifest.include, (manifest.mean, manifest.std)
        self.preprocess, self.frame, self.restore = nn.Identity(), None, nn.Identity()
        unpools(net)
        if isinstance(net, Segmenter):
            net.framed = False
            self.preprocess = Normalise(mean, std) if whole else nn.Identity()
            self.frame = Frame(*sides(manifest)) if whole and sides(manifest) != ANY else None
        elif whole:
            self.preprocess = Preprocess(manifest.size, mean, std)
        if whole and manifest.task == "reconstruct":
            self.restore = Restore(mean, std)
        self.number = torch.float16 if manifest.precision == "fp16" else torch.float32
        self.net = net.to(self.number)
        self.softmax = SOFTMAX in manifest.include
        self.requires_grad_(requires_grad=False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """uint8 or float32 (B, C, H, W) -> float32 (B, classes), of masks (B, classes, H, W).

        Of images that are made anew (B, C, size, size).
        """
        shown = self.preprocess(images)
        if self.frame is not None:
            shown = self.frame(shown)
        logits = self.restore(self.net(shown.to(self.number)).float())
        if self.frame is not None:
            logits = self.frame.cut(logits, images)
        return logits.softmax(1) if self.softmax else logits


def sides(manifest: Manifest) -> tuple[int, int, int]:
    """The margin, the least side and the stride of a net for masks."""
    found = manifest.margin, manifest.least, manifest.stride
    assert None not in found
    return found  # pyright: ignore[reportReturnType] - as the line above says


class Traced(NamedTuple):
    """A program as torch.export follows it, the images it was followed on, and what is free."""

    program: ExportedProgram
    images: Tensor
    free: dict[int, Dim]


def images(manifest: Manifest) -> Tensor:
    """An example of what the program takes."""
    batch = SOME if manifest.dynamic_batch else 1
    shape = (batch, manifest.channels)
    if PREPROCESS in manifest.include:
        lengths = (manifest.size + more for more in ODD)
        return torch.zeros(*shape, *lengths, dtype=torch.uint8)
    if manifest.stride is None:
        return torch.zeros(*shape, manifest.size, manifest.size)
    *_, stride = sides(manifest)
    usual = manifest.side(manifest.size)
    return torch.zeros(*shape, *(usual + more * stride for more in STEPS))


def trace(program: Program, manifest: Manifest) -> Traced:
    """The program for any number of images, unless it takes one alone, and of any size."""
    free = {0: Dim("batch", min=1)} if manifest.dynamic_batch else {}
    whole = PREPROCESS in manifest.include
    if whole:
        free |= {2: Dim("height", min=1), 3: Dim("width", min=1)}
    elif manifest.stride is not None:
        free |= {2: _steps("height", manifest), 3: _steps("width", manifest)}
    example = images(manifest)
    free_sides = manifest.margin is not None and (whole or manifest.stride == 1)
    # of masks of any size a map of one pixel is like any other, and what torch cannot derive of
    # sizes it may ask when the program runs
    with config.patch(backed_size_oblivious=free_sides):  # pyright: ignore[reportAttributeAccessIssue] - torch installs it
        traced = torch.export.export(
            program, (example,), dynamic_shapes=(free,), strict=False,
            prefer_deferred_runtime_asserts_over_guards=free_sides,
        )  # fmt: skip
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)  # folders of this machine, line by line
    return Traced(traced, example, free)


def _steps(name: str, manifest: Manifest) -> Any:
    """A side that may be `least` and any number of strides more."""
    _, least, stride = sides(manifest)
    if stride == 1:
        return Dim(name, min=least)
    return stride * Dim(f"{name}_steps", min=least // stride) + least % stride
