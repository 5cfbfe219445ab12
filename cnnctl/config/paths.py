"""Where configuration files are: the product's own folder and the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cnnctl.errors import UsageError

FEW = 12  # options that one line can name
ROOT = "train.yaml"  # every configuration folder of the product has this file


def conf_dir() -> Path:
    """The product's own configuration: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / ROOT).is_file():
            return folder
    message = f"the configuration folder is missing beside {package}"
    raise UsageError(message, "reinstall cnnctl")


def user_dirs() -> list[Path]:
    """The user's own folders, first wins: $CNNCTL_CONFIG_DIR, ./conf, ~/.config/cnnctl/conf.

    Raises UsageError if $CNNCTL_CONFIG_DIR names a folder that is not there.
    """
    folders = []
    named = os.environ.get("CNNCTL_CONFIG_DIR")
    if named:
        if not Path(named).is_dir():
            message = f"CNNCTL_CONFIG_DIR names a folder that is not there: {named}"
            raise UsageError(message, "create it or unset CNNCTL_CONFIG_DIR")
        folders.append(Path(named))
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 - expanduser of pathlib raises where there is no home
    folders += [Path.cwd() / "conf", Path(base) / "cnnctl" / "conf"]
    own = conf_dir()
    return [folder.resolve() for folder in folders if folder.is_dir() and folder.resolve() != own]


def extra_dirs(flags: Mapping[str, str]) -> list[Path]:
    """The folder of --config-dir. Raises UsageError if it is not there."""
    if "--config-dir" not in flags:
        return []
    folder = Path(flags["--config-dir"])
    if not folder.is_dir():
        message = f"--config-dir is not a folder: {folder}"
        raise UsageError(message)
    return [folder.resolve()]


def config_files(extra: list[Path] | None = None) -> dict[str, dict[str, Path]]:
    """Every option of every group: {"model": {"lenet5": Path(…/model/lenet5.yaml)}, …}.

    Groups are folders and options are files; where two folders have the same option, the
    product's own wins, as in Hydra's search path.
    """
    groups: dict[str, dict[str, Path]] = {}
    for root in (conf_dir(), *(extra or []), *user_dirs()):
        for file in sorted(root.glob("*/**/*.yaml")):
            group = file.parent.relative_to(root).as_posix()
            groups.setdefault(group, {}).setdefault(file.stem, file)
    return groups
