from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from exports import pixels, program

from cnnctl import manifest
from cnnctl.export import torch_export


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "lenet5.pt2"
    torch_export.write(*program(format="torch_export"), file)
    return file


def test_torch_loads_it_and_gives_the_same(file: Path) -> None:
    found, (made, _) = torch.export.load(str(file)).module(), program()
    for count, height, width in ((1, 32, 32), (3, 32, 32), (32, 20, 50)):
        given = pixels(count, 1, height, width)
        assert torch.allclose(found(given), made(given), atol=1e-6)


def test_it_says_what_it_is(file: Path) -> None:
    _, about = program(format="torch_export")
    assert manifest.read(file) == about
    extra = {"cnnctl": ""}
    torch.export.load(str(file), extra_files=extra)
    assert extra["cnnctl"] == about.text()


def test_folders_of_this_machine_stay_private(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        held = b"".join(archive.read(name) for name in archive.namelist())
    assert str(Path(torch_export.__file__).parent).encode() not in held
