"""Where cnnctl keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """$CNNCTL_CACHE, or the folder cnnctl in the user's cache folder; it may not exist yet."""
    if own := os.environ.get("CNNCTL_CACHE"):
        return Path(own).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().absolute() / "cnnctl"
    return Path.home() / ".cache" / "cnnctl"


def write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # not by tempfile, whose files nobody else may read: a cache may be shared
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
