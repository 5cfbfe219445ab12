"""What is installed works from any folder: wheel, source distribution, checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from cnnctl import __version__

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def installed(package: Path, folder: Path, *words: str) -> str:
    """What `cnnctl` prints when only `package` is on the path, in an empty folder."""
    folder.mkdir()
    command = [sys.executable, "-m", "cnnctl", *words]
    env = {**os.environ, "PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_wheel_has_the_configuration_and_the_digits(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for file in sorted((ROOT / "conf").rglob("*.yaml")):
        assert f"cnnctl/{file.relative_to(ROOT).as_posix()}" in names
    assert {"cnnctl/data/digits.npz", "cnnctl/data/digits.txt"} <= names
    assert "cnnctl/nets/costs.json" in names
    assert not [name for name in names if name.startswith(("tests/", "conf/", "outputs/"))]


def test_the_wheel_composes_and_trains_from_any_folder(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)  # noqa: S202 - our own archive
    assert "61,706" in installed(site, tmp_path / "a", "list", "models")
    words = ("train", "trainer.max_steps=1", "progress=none", "--json")
    assert '"steps": 1' in installed(site, tmp_path / "b", *words)
    where = installed(site, tmp_path / "c", "train", "--info", "searchpath")
    assert str(site / "cnnctl" / "conf") in where


def test_the_source_distribution_is_complete(built: Path, tmp_path: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    (root,) = tmp_path.glob("cnnctl-*")
    for name in ("README.md", "LICENSE", "pyproject.toml", "conf/train.yaml", "cnnctl/cli.py"):
        assert (root / name).is_file(), name
    assert "lenet5" in installed(root, tmp_path / "empty", "list", "models")


def test_the_version_is_the_one_of_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {__version__}" in changelog


def test_python_minus_m_is_the_same_command(tmp_path: Path) -> None:
    assert installed(ROOT, tmp_path / "here", "--version") == f"cnnctl {__version__}\n"
