from __future__ import annotations

from pathlib import Path

import pytest

from cnnctl.config import paths
from cnnctl.errors import UsageError


def made(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("# Mine.\nname: mine\n")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_the_products_own_folder_has_the_root_file() -> None:
    folder = paths.conf_dir()
    assert folder.name == "conf"
    assert (folder / "train.yaml").is_file()


def test_an_installation_without_its_folder_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "cnnctl" / "config" / "paths.py"))
    with pytest.raises(UsageError) as caught:
        paths.conf_dir()
    expected = f"the configuration folder is missing beside {tmp_path}/cnnctl (reinstall cnnctl)"
    assert str(caught.value) == expected


def test_the_folder_inside_the_package_comes_first(tmp_path, monkeypatch) -> None:
    inside = made(tmp_path / "cnnctl" / "conf", "train.yaml")
    made(tmp_path / "conf", "train.yaml")
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "cnnctl" / "config" / "paths.py"))
    assert paths.conf_dir() == inside


def test_there_are_no_user_folders_by_default() -> None:
    assert paths.user_dirs() == []


def test_user_folders_in_order(tmp_path, monkeypatch) -> None:
    named = made(tmp_path / "named")
    here = made(tmp_path / "conf")
    home = made(tmp_path / "home" / ".config" / "cnnctl" / "conf")
    monkeypatch.setenv("CNNCTL_CONFIG_DIR", "named")
    assert paths.user_dirs() == [named, here, home]


def test_xdg_config_home_moves_the_folder_at_home(tmp_path, monkeypatch) -> None:
    made(tmp_path / "home" / ".config" / "cnnctl" / "conf")
    moved = made(tmp_path / "xdg" / "cnnctl" / "conf")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert paths.user_dirs() == [moved]


def test_a_named_folder_that_is_missing_is_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CNNCTL_CONFIG_DIR", "nowhere")
    with pytest.raises(UsageError) as caught:
        paths.user_dirs()
    assert str(caught.value) == (
        "CNNCTL_CONFIG_DIR names a folder that is not there: nowhere "
        "(create it or unset CNNCTL_CONFIG_DIR)"
    )


def test_the_products_own_folder_is_no_user_folder(monkeypatch) -> None:
    monkeypatch.chdir(paths.conf_dir().parent)
    assert paths.user_dirs() == []


def test_an_option_in_two_places_is_the_products_own_then_the_first(tmp_path, monkeypatch) -> None:
    extra = made(tmp_path / "extra", "model/mine.yaml", "model/lenet5.yaml")
    made(tmp_path / "conf", "model/mine.yaml", "model/yours.yaml", "top.yaml", "model/no.txt")
    files = paths.config_files([extra])
    assert files["model"]["lenet5"] == paths.conf_dir() / "model" / "lenet5.yaml"
    assert files["model"]["mine"] == extra / "model" / "mine.yaml"
    assert files["model"]["yours"] == tmp_path / "conf" / "model" / "yours.yaml"
    assert "no" not in files["model"]
    assert set(files) == {
        "augment", "data", "hardware", "logger", "loss", "model", "optimizer", "recipe", "schedule",
        "transfer",
    }  # fmt: skip


def test_a_folder_in_a_group_is_a_group_of_its_own(tmp_path) -> None:
    made(tmp_path / "conf", "model/course/week1.yaml")
    file = tmp_path / "conf" / "model" / "course" / "week1.yaml"
    assert paths.config_files()["model/course"] == {"week1": file}
