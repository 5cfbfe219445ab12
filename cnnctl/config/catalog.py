"""What can be chosen, read from the headers and facts of the YAML files; no hydra, no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import cnnctl
from cnnctl.config import paths

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where PyYAML has it
COSTS = Path(cnnctl.__file__).parent / "nets" / "costs.json"


def models(extra: list[Path] | None = None) -> list[dict[str, Any]]:
    """Every net: name, family, year, paper, params, macs, input (C, H, W), classes.

    Parameters and multiply-adds come from a generated table, for the paper's classes and
    input; a net of the user's own has none there.
    """
    costs = json.loads(COSTS.read_text(encoding="utf-8"))
    rows = []
    files = dict(_options("model", extra))
    for name, file in files.items():
        said = facts(file, files)
        cost = costs.get(name, {"params": None, "macs": None})
        row = {"name": name, **{key: said.get(key) for key in ("family", "year", "paper")}}
        rows.append({**row, **cost, "input": said.get("input"), "classes": said.get("classes")})
    return rows


def datasets(extra: list[Path] | None = None) -> list[dict[str, Any]]:
    """Every data set: name, image size, channels, source, licence."""
    rows = []
    files = dict(_options("data", extra))
    for name, file in files.items():
        said = facts(file, files)
        size = said.get("size")
        row = {"name": name, "channels": said.get("channels")}
        row["size"] = size if isinstance(size, int) else "the net's"  # an interpolation
        rows.append(row | {key: said.get(key) for key in ("source", "licence")})
    return rows


def options(group: str, extra: list[Path] | None = None) -> list[dict[str, Any]]:
    """Every option of a group: name, and the first sentence of its header."""
    return [{"name": name, "about": header(file)} for name, file in _options(group, extra)]


def having(group: str, key: str) -> list[str]:
    """The options of a group that have a key."""
    files = dict(_options(group, None))
    return [name for name, file in files.items() if key in facts(file, files)]


def header(file: Path) -> str:
    """The first sentence of the comment at the top of a YAML file."""
    lines = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").strip()
        if not text.startswith("@package"):
            lines.append(text)
    return re.split(r"\.\s+(?=[A-Z])", " ".join(lines))[0].removesuffix(".")


def natural(name: str) -> list[tuple[str, int]]:
    """Sorts resnet18 before resnet101: the numbers in a name count as numbers."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def _options(group: str, extra: list[Path] | None) -> list[tuple[str, Path]]:
    return sorted(
        paths.config_files(extra).get(group, {}).items(), key=lambda item: natural(item[0])
    )


def facts(file: Path, others: Mapping[str, Path]) -> dict[str, Any]:
    """The keys of a file, over those of the files in its defaults list, as Hydra composes them.

    `others` are the options of its group by name. An unreadable file has no keys, and using
    it says why.
    """
    try:
        own = yaml.load(file.read_text(encoding="utf-8"), LOADER)  # noqa: S506 - both are safe
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    if not isinstance(own, dict):
        return {}
    found: dict[str, Any] = {}
    for name in own.pop("defaults", []):
        if name in others and others[name] != file:
            found |= facts(others[name], others)
    return found | own
