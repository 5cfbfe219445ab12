"""A saved configuration with overrides on top: `train --config`, and `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from cnnctl.config import diagnose
from cnnctl.config.compose import FAULTS, misnamed, parse, resolved
from cnnctl.errors import Problem


def replay(base: dict[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """`base` with the overrides, resolved, and the problems; a group choice replaces its section.

    Call inside `compose.opened`.
    """
    loader = GlobalHydra.instance().config_loader()
    overrides, problems = misnamed(overrides)
    read, unreadable = parse(loader, overrides)
    problems += unreadable
    cfg = OmegaConf.create(base)
    OmegaConf.set_struct(cfg, True)  # noqa: FBT003 - omegaconf's own signature
    for override in sorted(read, key=lambda one: not loader.get_group_options(one.key_or_group)):
        try:
            problems += _applied(cfg, override, loader.get_group_options(override.key_or_group))
        except FAULTS as wrong:
            problems.append(diagnose.refused(wrong, override, list(diagnose.keys(cfg)), loader))
    return resolved(cfg, problems)


def _applied(cfg: DictConfig, override: Override, options: Sequence[str]) -> list[Problem]:
    """Change `cfg`, or say why not. May raise one of FAULTS."""
    name, text = override.key_or_group, override.input_line
    if override.type is not OverrideType.CHANGE:
        return [Problem(f"'{text}' changes the keys of a saved run", key=name)]
    if options and name not in cfg:
        hint = f"compose from groups: cnnctl train {text}"
        return [Problem(f"'{text}' does not fit a saved run, which has all choices", hint, name)]
    if options:
        with open_dict(cfg):
            cfg[name] = hydra_compose(overrides=[f"+{name}={override.value()}"])[name]
        return []
    section = name.rpartition(".")[0]
    if section and not isinstance(OmegaConf.select(cfg, section), DictConfig):
        return [diagnose.unknown_key(name, list(diagnose.keys(cfg)))]
    OmegaConf.update(cfg, name, override.value(), merge=True)
    return []
