"""One run and its exports for all files of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from exports import trained

from cnnctl.cli import main

FILES = {
    "onnx": "lenet5.onnx", "torch_export": "lenet5.pt2", "torchscript": "lenet5.torchscript",
    "safetensors": "lenet5.safetensors",
}  # fmt: skip


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 on digits, one epoch long."""
    return trained(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="session")
def files(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One export of the run in each format."""
    root = tmp_path_factory.mktemp("files")
    for kind in FILES:
        words = [f"format={kind}", "images=8", f"output={root / kind}"]
        assert main(["export", str(run), *words]) == 0
    return {kind: root / kind / name for kind, name in FILES.items()}
