"""Which file or override set each key: the last writer in the order of Hydra's defaults list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from cnnctl.config import compose, diagnose, library


def sources(root: str, overrides: Sequence[str]) -> dict[str, str]:
    """Dotted key -> `conf/model/lenet5.yaml`, or the override as it was typed.

    Call inside `compose.opened`, with overrides that compose without problems.
    """
    loader: Any = GlobalHydra.instance().config_loader()
    source: dict[str, str] = {}
    for default in loader.compute_defaults_list(root, list(overrides), RunMode.RUN).defaults:
        path = default.config_path
        if path is None or path.startswith("hydra/"):
            continue
        loaded = loader.repository.load_config(path)
        package = f"{default.package}." if default.package else ""
        place = _place(loaded, path)
        for name in diagnose.keys(loaded.config):
            if not OmegaConf.is_missing(loaded.config, name):
                source[package + name] = place
    parsed, _ = compose.parse(loader, overrides)
    for override in parsed:
        if not loader.get_group_options(override.key_or_group):
            for name, _ in _leaves({override.key_or_group: override.value()}, ""):
                while name not in source and name.rpartition(".")[2].isdigit():
                    name = name.rpartition(".")[0]  # noqa: PLW2901 - an item belongs to its list
                source[name] = f"command line: {override.input_line}"
    return source


def _place(loaded: Any, path: str) -> str:
    """A file, or the net of a library, whose section no file holds."""
    if loaded.path.startswith(library.SCHEME):
        return path.removeprefix("model/")
    folder = "conf" if loaded.provider == "main" else loaded.path.removeprefix("file://")
    return f"{folder}/{path}.yaml"


def rows(config: dict[str, Any], source: dict[str, str]) -> list[dict[str, Any]]:
    """One row per key that has a value of its own: key, value, source."""
    return [
        {"key": name, "value": value, "source": source.get(name, "?")}
        for name, value in _leaves(config, "")
    ]


def _leaves(section: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in section.items():
        path = f"{prefix}{name}"
        found += (
            _leaves(value, f"{path}.") if isinstance(value, dict) and value else [(path, value)]
        )
    return found
