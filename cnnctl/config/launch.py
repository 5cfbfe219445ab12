"""hydra.main around a task: multirun, launchers, --cfg and --info stay alive."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from cnnctl.config import compose, paths
from cnnctl.config.near import did_you_mean
from cnnctl.errors import UsageError

FLAGS = ("--multirun", "--cfg", "--info", "--package", "--resolve")
PRINTS = {  # what Hydra itself prints
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}


class _Failed(BaseException):
    """Carries an exception through Hydra, which prints a line about every Exception of a job."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def launch(
    task: Callable[[dict[str, Any]], None],
    root: str,
    words: Sequence[str],
    extra_dirs: Sequence[Path] = (),
) -> None:
    """Run `task` on the composed configuration `root`, once or once per point of a multirun.

    `words` are what hydra.main is to find in sys.argv, which is as it was while the task
    runs and afterwards. An exception of the task is raised as it is.
    """
    compose.register(extra_dirs)
    real = list(sys.argv)

    def job(cfg: DictConfig) -> None:
        sys.argv[:] = real
        config = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(config, dict)
        try:
            task(config)  # pyright: ignore[reportArgumentType] - keys of a config are text
        except Exception as error:
            raise _Failed(error) from error

    main = hydra.main(config_path=str(paths.conf_dir()), config_name=root, **compose.VERSION)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # an error of Hydra's own reaches us as it is
    sys.argv[1:] = words
    failed: Exception | None = None
    try:
        main(job)()
    except _Failed as wrapped:
        failed = wrapped.error
    finally:
        sys.argv[:] = real
    if failed is not None:
        raise failed


def check(flags: Mapping[str, str]) -> None:
    """Raises UsageError where --cfg or --info say something that Hydra would stumble over."""
    for flag, choices in PRINTS.items():
        given = flags.get(flag)
        if given and given not in choices:
            text = f"{flag} takes one of {', '.join(choices)}, got '{given}'"
            raise UsageError(text, did_you_mean(given, choices))
        others = [one for one in ("--json", "--dry-run", "--multirun", *PRINTS) if one != flag]
        for other in others if flag in flags else ():
            if other in flags:
                raise UsageError(f"{flag} does not go with {other}", "cnnctl show --json")
    for flag in ("--resolve", "--package"):
        if flag in flags and "--cfg" not in flags:
            raise UsageError(f"{flag} is about --cfg", f"cnnctl train --cfg job {flag}")


def words(flags: Mapping[str, str], overrides: Sequence[str]) -> list[str]:
    """What hydra.main is to read: its own flags and the overrides."""
    found: list[str] = []
    for flag, value in flags.items():
        if flag in FLAGS:
            found += [flag, value] if value else [flag]
    return [*found, *overrides]
