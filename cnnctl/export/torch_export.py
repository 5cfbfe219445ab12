"""torch_export: an ExportedProgram of torch, which Python and AOTInductor run."""

from __future__ import annotations

from pathlib import Path

import torch

from cnnctl.export.program import Program, trace
from cnnctl.manifest import ENTRY, Manifest


def write(program: Program, manifest: Manifest, file: Path) -> None:
    """Write the file; raises what torch raises of a net that it cannot follow."""
    traced = trace(program, manifest)
    torch.export.save(traced.program, str(file), extra_files={ENTRY: manifest.text()})
