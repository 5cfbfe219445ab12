"""What can be chosen, read from the headers and facts of the YAML files; no hydra, no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

import cnnctl
from cnnctl.config import paths

COSTS = Path(cnnctl.__file__).parent / "nets" / "costs.json"


def models(extra: list[Path] | None = None) -> list[dict[str, Any]]:
    """Every net: name, family, year, paper, params, macs, input (C, H, W).

    Parameters and multiply-adds come from a generated table, for ten classes at the paper's
    input; a net of the user's own has none there.
    """
    costs = json.loads(COSTS.read_text(encoding="utf-8"))
    rows = []
    for name, file in _options("model", extra):
        facts = _facts(file)
        cost = costs.get(name, {"params": None, "macs": None})
        row = {"name": name, **{key: facts.get(key) for key in ("family", "year", "paper")}}
        rows.append({**row, **cost, "input": facts.get("input")})
    return rows


def datasets(extra: list[Path] | None = None) -> list[dict[str, Any]]:
    """Every data set: name, image size, channels, source, licence."""
    rows = []
    for name, file in _options("data", extra):
        facts = _facts(file)
        size = facts.get("size")
        row = {"name": name, "channels": facts.get("channels")}
        row["size"] = size if isinstance(size, int) else "the net's"  # an interpolation
        rows.append(row | {key: facts.get(key) for key in ("source", "licence")})
    return rows


def options(group: str, extra: list[Path] | None = None) -> list[dict[str, Any]]:
    """Every option of a group: name, and the first sentence of its header."""
    return [{"name": name, "about": header(file)} for name, file in _options(group, extra)]


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


def _options(group: str, extra: list[Path] | None) -> list[tuple[str, Path]]:
    return sorted(paths.config_files(extra).get(group, {}).items())


def _facts(file: Path) -> dict[str, Any]:
    """The keys of a file; an unreadable one has none, and using it says why."""
    try:
        facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return facts if isinstance(facts, dict) else {}
