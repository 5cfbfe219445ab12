"""safetensors: the net's tensors alone, under its own names, and the manifest in the header."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from cnnctl import weights
from cnnctl.errors import ExportError
from cnnctl.manifest import ENTRY, Manifest


def write(net: nn.Module, manifest: Manifest, file: Path) -> None:
    """Write the file and read it back. Raises ExportError if a single bit has changed."""
    half = manifest.precision == "fp16"
    tensors = {
        name: (
            tensor.half() if half and tensor.is_floating_point() else tensor.clone()
        ).contiguous()
        for name, tensor in net.state_dict().items()
    }
    save_file(tensors, file, metadata={"format": "pt", ENTRY: manifest.text()})
    with safe_open(file, framework="pt") as opened:
        found: dict[str, torch.Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
    if weights.sha256(found) != weights.sha256(tensors):
        raise ExportError(f"{file.name} does not hold what was written", "is the disk all right?")
