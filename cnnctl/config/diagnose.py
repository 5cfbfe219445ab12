"""Hydra's and OmegaConf's exceptions in one line: what was given, what to type instead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from cnnctl.config.near import did_you_mean
from cnnctl.config.read import show
from cnnctl.errors import Problem


def first_line(wrong: object) -> str:
    """The first line of an exception's text."""
    lines = str(wrong).strip().splitlines()
    return lines[0] if lines else type(wrong).__name__


def keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """Every dotted key of a configuration, sections before what is in them."""
    for name in cfg:
        if not prefix and name == "hydra":
            continue
        path = f"{prefix}{name}"
        yield path
        node = cfg._get_node(name)  # noqa: SLF001 - the only way to look at a node unresolved
        if isinstance(node, DictConfig) and not (node._is_none() or node._is_missing()):  # noqa: SLF001
            yield from keys(node, f"{path}.")


def refused(
    wrong: Exception, override: Override, known: Sequence[str], loader: ConfigLoader
) -> Problem:
    """Why Hydra refused an override; `known` are the keys that there are."""
    name, value = override.key_or_group, override.value()
    options = loader.get_group_options(name)
    if isinstance(wrong, MissingConfigException) and options:
        text = f"no '{value}' in group '{name}'; available: {', '.join(sorted(options))}"
        return Problem(text, did_you_mean(str(value), options), name)
    if name in known:
        text = f"{name} cannot be set to {show(value)}: {first_line(wrong)}"
        return Problem(text, key=name)
    groups = [group for group in loader.list_groups("") if group != "hydra"]
    return unknown_key(name, [*known, *groups])


def unknown_key(name: str, known: Sequence[str]) -> Problem:
    """A key that no configuration has."""
    return Problem(f"unknown key '{name}'", did_you_mean(name, known), name)


def unresolved(cfg: DictConfig, name: str, wrong: Exception, known: Sequence[str]) -> Problem:
    """An interpolation that leads nowhere."""
    text = OmegaConf.to_container(cfg, resolve=False)
    for part in name.split("."):
        assert isinstance(text, dict)
        text = text[part]
    target = re.search(r"Interpolation key '([^']+)' not found", str(wrong))
    hint = did_you_mean(target[1], [key for key in known if key != name]) if target else None
    reason = "" if target else f": {first_line(wrong)}"
    return Problem(f"{name}: cannot resolve '{text}'{reason}", hint, name)


def broken_yaml(broken: yaml.MarkedYAMLError) -> Problem:
    """The file and line of a YAML file that cannot be parsed."""
    mark = broken.problem_mark or broken.context_mark
    place = f"{mark.name}:{mark.line + 1}" if mark else "a configuration file"
    return Problem(f"{place}: not valid YAML: {broken.problem or broken.context}")
