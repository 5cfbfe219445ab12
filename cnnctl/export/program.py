"""What is exported: the net, with as much around it as is wanted."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from cnnctl.export.preprocess import Preprocess
from cnnctl.manifest import PREPROCESS, SOFTMAX, Manifest

SOME = 2  # images of the example: of one alone torch would take it that there is always one
ODD = (5, 9)  # pixels that the example is higher and wider than what the net takes


class Program(nn.Module):
    """Takes and gives what a manifest says; in between, the net in its precision.

    Resizing and normalising are float32 in any precision, and so is the softmax.
    """

    def __init__(self, net: nn.Module, manifest: Manifest) -> None:
        super().__init__()
        whole = PREPROCESS in manifest.include
        self.preprocess = (
            Preprocess(manifest.size, manifest.mean, manifest.std) if whole else nn.Identity()
        )
        self.number = torch.float16 if manifest.precision == "fp16" else torch.float32
        self.net = net.to(self.number)
        self.softmax = SOFTMAX in manifest.include
        self.requires_grad_(requires_grad=False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """uint8 or float32 (B, C, H, W) -> float32 (B, classes)."""
        logits = self.net(self.preprocess(images).to(self.number)).float()
        return logits.softmax(1) if self.softmax else logits


class Traced(NamedTuple):
    """A program as torch.export follows it, the images it was followed on, and what is free."""

    program: ExportedProgram
    images: Tensor
    free: dict[int, Dim]


def images(manifest: Manifest) -> Tensor:
    """An example of what the program takes."""
    batch = SOME if manifest.dynamic_batch else 1
    shape = (batch, manifest.channels)
    if PREPROCESS not in manifest.include:
        return torch.zeros(*shape, manifest.size, manifest.size)
    sides = (manifest.size + more for more in ODD)
    return torch.zeros(*shape, *sides, dtype=torch.uint8)


def trace(program: Program, manifest: Manifest) -> Traced:
    """The program for any number of images, unless it takes one alone, and of any size."""
    free = {0: Dim("batch", min=1)} if manifest.dynamic_batch else {}
    if PREPROCESS in manifest.include:
        free |= {2: Dim("height", min=1), 3: Dim("width", min=1)}
    example = images(manifest)
    traced = torch.export.export(program, (example,), dynamic_shapes=(free,), strict=False)
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)  # folders of this machine, line by line
    return Traced(traced, example, free)
