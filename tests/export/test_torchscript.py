from __future__ import annotations

from pathlib import Path

import pytest
import torch
from exports import pixels, program

from cnnctl import manifest
from cnnctl.export import torchscript
from cnnctl.export.silence import quiet


@pytest.mark.parametrize("include", [(), ("preprocess", "softmax")])
def test_torch_loads_it_and_gives_the_same(tmp_path: Path, include: tuple[str, ...]) -> None:
    file = tmp_path / "lenet5.torchscript"
    made, about = program(format="torchscript", include=include)
    with quiet():
        torchscript.write(made, about, file)
        found = torch.jit.load(str(file))
    for count, height, width in ((1, 32, 32), (3, 32, 32), (32, 20, 50)):
        given = pixels(count, 1, height, width)
        if not include:
            given = pixels(count, 1, 32, 32).float()
        assert torch.allclose(found(given), made(given), atol=1e-6)


def test_it_says_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "lenet5.torchscript"
    made, about = program(format="torchscript", include=(), precision="fp16")
    with quiet():
        torchscript.write(made, about, file)
    assert manifest.read(file) == about


def test_torch_warns_unless_it_is_told_not_to(tmp_path: Path) -> None:
    made, about = program(format="torchscript", include=())
    with pytest.warns(FutureWarning, match="deprecated"):
        torchscript.write(made, about, tmp_path / "lenet5.torchscript")


def test_no_device_is_in_it(tmp_path: Path) -> None:
    """A file that was traced on a CPU runs where its tensors are."""
    file = tmp_path / "lenet5.torchscript"
    with quiet():
        torchscript.write(*program(format="torchscript"), file)
        found = torch.jit.load(str(file))
    assert "Device = prim::Constant" not in str(found.inlined_graph)
