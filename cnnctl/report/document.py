"""The JSON document that `--json` prints, and nothing else on stdout."""

from __future__ import annotations

import json
from typing import Any

SCHEMA = 1  # raised when a key is renamed or removed; new keys may come at any time


def success(command: str, data: dict[str, Any]) -> str:
    """One document for a command that worked."""
    return _text({"schema": SCHEMA, "command": command, "ok": True, "result": data})


def failure(command: str | None, kind: str, message: str, hint: str | None) -> str:
    """One document for a command that did not."""
    error = {"kind": kind, "message": message, "hint": hint}
    return _text({"schema": SCHEMA, "command": command, "ok": False, "error": error})


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
