"""TorchScript: for C++ and phones that have libtorch. Torch keeps it, but goes on without it."""

from __future__ import annotations

from pathlib import Path

import torch

from cnnctl.export.program import Program, images
from cnnctl.manifest import ENTRY, Manifest


def write(program: Program, manifest: Manifest, file: Path) -> None:
    """Write the file; nets have no branches that depend on values, so a trace is all of them."""
    example = images(manifest)
    with torch.inference_mode(mode=False), torch.no_grad():
        traced = torch.jit.trace(program, example, check_trace=False)
    torch.jit.save(traced, str(file), _extra_files={ENTRY: manifest.text()})
