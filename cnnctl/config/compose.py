"""Hydra: groups, files and overrides become one dict, or every problem is named.

Nothing outside this package imports hydra. The pre-flight here finds what can be found
without torch: unknown keys and options, values that Hydra cannot read, missing values,
interpolations that lead nowhere, broken YAML.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cnnctl.config import diagnose, library, paths
from cnnctl.config.overrides import key_of
from cnnctl.config.schema import VARIANTS
from cnnctl.errors import ConfigError, Problem

# Hydra 1.3 asks which version's defaults are meant; 1.4 has none but its own and warns.
VERSION: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}
FAULTS = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError)  # of model=5
_extra_dirs: list[Path] = []


class UserFolders(SearchPathPlugin):
    """Adds the user's configuration folders behind the product's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append each folder; an option found in two places is taken from the first."""
        for folder in (*_extra_dirs, *paths.user_dirs()):
            search_path.append(provider=str(folder), path=f"file://{folder}")
        search_path.append(provider="cnnctl", path=f"{library.SCHEME}://nets")


def register(extra_dirs: Sequence[Path] = ()) -> None:
    """Make Hydra look into the user's folders, and into `extra_dirs` before those."""
    _extra_dirs[:] = extra_dirs
    Plugins.instance().register(UserFolders)
    Plugins.instance().register(library.LibraryNets)


@contextlib.contextmanager
def opened(extra_dirs: Sequence[Path] = ()) -> Iterator[ConfigLoader]:
    """Hydra over the product's and the user's folders."""
    register(extra_dirs)
    with initialize_config_dir(str(paths.conf_dir()), **VERSION):
        yield GlobalHydra.instance().config_loader()


def parse(loader: ConfigLoader, overrides: Sequence[str]) -> tuple[list[Override], list[Problem]]:
    """Each override through Hydra's grammar; one problem for each that it cannot read."""
    parser = OverridesParser.create(config_loader=loader)
    read, problems = [], []
    for text in overrides:
        try:
            read += parser.parse_overrides([text])
        except OverrideParseException as wrong:
            problems.append(Problem(f"cannot read '{text}': {diagnose.first_line(wrong)}"))
    return read, problems


def compose(root: str, overrides: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """The configuration `root` with the overrides, resolved, and the problems in it.

    With problems the dict holds what could be composed without the faulty overrides, so
    that the schema can go on looking. Call inside `opened`.
    """
    overrides, wrong_names = misnamed(overrides)
    try:
        cfg, problems = _compose(root, overrides), []
    except FAULTS:
        try:
            cfg, problems = _without_faults(root, overrides)
        except FAULTS as wrong:  # an edited file of the product itself
            raise ConfigError([diagnose.broken(wrong, root)]) from wrong
    return resolved(cfg, [*wrong_names, *problems])


def points(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of a multirun as plain points, each value of each sweep at least once.

    Not the whole grid: one sweep varies at a time, so the pre-flight of a large grid stays
    short. Hydra itself expands the grid. Call inside `opened`.
    """
    loader = GlobalHydra.instance().config_loader()
    read, problems = parse(loader, overrides)
    problems += [
        Problem(f"'{one.input_line}' has no end of values", "give them: choice(…), range(…) or 1,2")
        for one in read
        if one.is_interval_sweep()
    ]
    if problems:
        raise ConfigError(problems)
    choices = [
        [f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
        if one.is_sweep_override()
        else [one.input_line or ""]
        for one in read
    ]
    first = [values[0] for values in choices]
    varied = [
        [*first[:place], value, *first[place + 1 :]]
        for place, values in enumerate(choices)
        for value in values[1:]
    ]
    return [first, *varied]


def misnamed(overrides: Sequence[str]) -> tuple[list[str], list[Problem]]:
    """Without `optimizer.name=sgd`, which would leave the keys of another optimizer in place."""
    named = {f"{group}.name": group for group in VARIANTS}
    wrong = [text for text in overrides if key_of(text) in named]
    problems = [
        Problem(
            f"'{text}' changes a name, not the choice",
            f"choose with {named[key_of(text)]}={text.partition('=')[2]}",
            key_of(text),
        )
        for text in wrong
    ]
    return [text for text in overrides if text not in wrong], problems


def _compose(root: str, overrides: Sequence[str]) -> DictConfig:
    """Compose with Hydra's own node, so that `${hydra:…}` resolves before there is a job."""
    cfg = hydra_compose(root, overrides=list(overrides), return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = ""
        cfg.hydra.job.num = 0
        cfg.hydra.job.id = "0"
    HydraConfig.instance().set_config(cfg)
    return cfg


def resolved(cfg: DictConfig, problems: list[Problem]) -> tuple[dict[str, Any], list[Problem]]:
    """Resolve every key of the user's part; what does not resolve becomes null and a problem."""
    with open_dict(cfg):
        cfg.pop("hydra", None)
    known = list(diagnose.keys(cfg))
    for name in known:
        try:
            OmegaConf.select(cfg, name, throw_on_resolution_failure=True)
        except OmegaConfBaseException as wrong:
            problems.append(diagnose.unresolved(cfg, name, wrong, known))
            OmegaConf.update(cfg, name, None)
    missing = sorted(OmegaConf.missing_keys(cfg))
    problems += [
        Problem(f"missing value: {name}", f"set it with {name}=…", name) for name in missing
    ]
    for name in missing:
        OmegaConf.update(cfg, name, None)
    config = OmegaConf.to_container(cfg, resolve=True)
    HydraConfig.instance().cfg = None
    assert isinstance(config, dict)
    return config, problems  # pyright: ignore[reportReturnType] - keys of a config are text


def _without_faults(root: str, overrides: Sequence[str]) -> tuple[DictConfig, list[Problem]]:
    """What composes without the faulty overrides, and a problem for each of those.

    Group choices come first, since they decide which keys there are. Keys of a group whose
    choice failed are left out in silence: whether they are right is not known yet. Composing
    is the slow part, so a mistyped key is found by looking, and only an override that Hydra
    refuses for another reason is searched by trying one after the other.
    """
    loader = GlobalHydra.instance().config_loader()
    read, problems = parse(loader, overrides)
    choices = [one for one in read if loader.get_group_options(one.key_or_group)]
    good, failed = _tried(root, [], choices, problems)
    cfg = _compose(root, good)
    known = list(diagnose.keys(cfg))
    rest = []
    for one in read:
        name = one.key_or_group
        if one in choices or name.partition(".")[0] in failed:
            continue
        if name in known or one.type is not OverrideType.CHANGE or one.is_hydra_override():
            rest.append(one)
        else:
            groups = [group for group in loader.list_groups("") if group != "hydra"]
            problems.append(diagnose.unknown_key(name, [*known, *groups]))
    if not rest:
        return cfg, problems
    try:
        return _compose(root, [*good, *(one.input_line or "" for one in rest)]), problems
    except FAULTS:
        good, _ = _tried(root, good, rest, problems)
        return _compose(root, good), problems


def _tried(
    root: str, good: Sequence[str], more: Sequence[Override], problems: list[Problem]
) -> tuple[list[str], set[str]]:
    """`good` and those of `more` that compose; the names of the others, with their problems."""
    loader = GlobalHydra.instance().config_loader()
    kept, failed = list(good), set[str]()
    for one in more:
        text = one.input_line or ""
        try:
            _compose(root, [*kept, text])
        except FAULTS as wrong:
            known = list(diagnose.keys(_compose(root, kept)))
            problems.append(diagnose.refused(wrong, one, known, loader))
            failed.add(one.key_or_group)
        else:
            kept.append(text)
    return kept, failed
