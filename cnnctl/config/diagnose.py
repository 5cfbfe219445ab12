"""Hydra's and OmegaConf's exceptions in one line: what was given, what to type instead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from cnnctl.config import catalog, paths
from cnnctl.config.kinds import show
from cnnctl.config.near import did_you_mean
from cnnctl.errors import Problem

OPAQUE = re.compile(r"LexerNoViableAltException: .*")
SOME = 5  # options that begin as a mistyped one
UNREADABLE = (yaml.YAMLError, UnicodeDecodeError)


def first_line(wrong: object) -> str:
    """The first line of an exception's text, or of its cause's if it has none of its own."""
    cause = getattr(wrong, "__cause__", None)
    lines = (str(wrong).strip() or str(cause or "")).splitlines()
    if not lines:
        return type(wrong).__name__
    return OPAQUE.sub("a quote that is not closed, or a sign that no key has", lines[0])


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
    options = loader.get_group_options(name) if name else []
    if isinstance(wrong, UNREADABLE):
        return broken(wrong, override.input_line or name)
    if override.is_sweep_override():
        text = f"'{override.input_line}' gives several values"
        return Problem(text, "cnnctl train -m runs each; a list is written [1,2]", name)
    if override.is_add() and name in known:
        return Problem(f"'{override.input_line}' adds a key that is there", "leave out the +", name)
    if options and str(value) not in options and not isinstance(value, dict):
        given = value if isinstance(value, str) else show(value)
        return _no_option(given, name, options)
    if options or name in known:
        text = f"{name} cannot be set to {show(value)}: {first_line(wrong)}"
        return Problem(text, key=name)
    groups = [group for group in loader.list_groups("") if group != "hydra"]
    return unknown_key(name, [*known, *groups])


def _no_option(given: str, group: str, options: Sequence[str]) -> Problem:
    text = f"no '{given}' in group '{group}'"
    hint = did_you_mean(given, options)
    if len(options) > paths.FEW:
        longer = sorted(option for option in options if option.startswith(given))
        if longer and hint is None:
            more = ", …" if len(longer) > SOME else ""
            hint = f"there are {', '.join(longer[:SOME])}{more}"
        plural = group if group in ("data", "hardware") else f"{group}s"
        return Problem(text, hint or f"see: cnnctl list {plural}", group)
    return Problem(f"{text}; available: {', '.join(sorted(options))}", hint, group)


def unknown_key(name: str, known: Sequence[str]) -> Problem:
    """A key that no configuration has."""
    group, _, key = name.partition(".")
    hint = did_you_mean(name, known) or _elsewhere(group, key)
    return Problem(f"unknown key '{name}'", hint, name)


def _elsewhere(group: str, key: str) -> str | None:
    """Which other options of a group have the key, if these are few."""
    options = catalog.having(group, key) if key else []
    if not 0 < len(options) <= SOME:
        return None
    return f"a key of {', '.join(f'{group}={one}' for one in options)}"


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


def broken(wrong: Exception, place: str) -> Problem:
    """What is wrong with a configuration file; `place` stands where its name is not known."""
    reason = first_line(wrong)
    if isinstance(wrong, yaml.MarkedYAMLError):
        mark = wrong.problem_mark or wrong.context_mark
        place = f"{mark.name}:{mark.line + 1}" if mark else place
        reason = wrong.problem or wrong.context or reason
    elif isinstance(wrong, yaml.reader.ReaderError):
        place = str(wrong.name)
    invalid = "not valid YAML: " if isinstance(wrong, UNREADABLE) else ""
    return Problem(f"{place}: {invalid}{reason}")
