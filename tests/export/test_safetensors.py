from __future__ import annotations

from pathlib import Path

import pytest
import torch
from exports import manifest, net
from safetensors.torch import load_file, save_file

from cnnctl import manifest as manifests
from cnnctl.errors import ExportError
from cnnctl.export import safetensors


def test_every_bit_is_there(tmp_path: Path) -> None:
    made, file = net("resnet20"), tmp_path / "resnet20.safetensors"
    safetensors.write(made, manifest("resnet20", format="safetensors", include=()), file)
    found = load_file(file)
    assert set(found) == set(made.state_dict())
    for name, tensor in made.state_dict().items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_half_leaves_counters_as_they_are(tmp_path: Path) -> None:
    made, file = net("resnet20"), tmp_path / "resnet20.safetensors"
    safetensors.write(made, manifest(format="safetensors", precision="fp16"), file)
    found = load_file(file)
    kinds = {tensor.dtype for tensor in found.values()}
    assert kinds == {torch.float16, torch.int64}
    assert next(made.parameters()).dtype == torch.float32


def test_it_says_what_it_is(tmp_path: Path) -> None:
    file, about = tmp_path / "lenet5.safetensors", manifest(format="safetensors", include=())
    safetensors.write(net(), about, file)
    assert manifests.read(file) == about


def test_a_disk_that_changes_bits_is_noticed(tmp_path: Path, monkeypatch) -> None:
    def spoil(tensors: dict[str, torch.Tensor], file: Path, metadata: dict[str, str]) -> None:
        first = next(iter(tensors))
        save_file({**tensors, first: tensors[first] + 1}, file, metadata=metadata)

    monkeypatch.setattr(safetensors, "save_file", spoil)
    with pytest.raises(ExportError, match="does not hold what was written"):
        safetensors.write(net(), manifest(), tmp_path / "lenet5.safetensors")
