"""The keys that a command line can set, kept in a cache so that TAB is quick."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from cnnctl.config import paths


def known(overrides: list[str], root: str = "train") -> list[str]:
    """Dotted keys of the configuration `root`, kept until a configuration file changes."""
    files = [file for options in paths.config_files().values() for file in options.values()]
    files.append(paths.conf_dir() / f"{root}.yaml")
    states = [f"{file} {file.stat().st_mtime_ns}" for file in files]
    stamp = hashlib.sha256(json.dumps([*states, overrides]).encode()).hexdigest()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base) / "cnnctl" / f"keys_{root}.json"
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["stamp"] == stamp:
            return kept["keys"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = _composed_keys(overrides, root)
    with contextlib.suppress(OSError):  # a home that cannot be written to has no cache
        cache.parent.mkdir(parents=True, exist_ok=True)
        beside = cache.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps({"stamp": stamp, "keys": found}), encoding="utf-8")
        beside.replace(cache)
    return found


def _composed_keys(overrides: list[str], root: str) -> list[str]:
    from cnnctl.config import compose, provenance

    with compose.opened():
        config, _ = compose.compose(root, overrides)
    return [row["key"] for row in provenance.rows(config, {})]
