"""Override texts, as the user types them, made readable for Hydra's grammar."""

from __future__ import annotations

import re

_NEEDS_QUOTES = re.compile(r"[=~#]")
_KEEPS = re.compile(r"""['"\[{(]|\$\{|[a-z_]+\(""")


def key_of(override: str) -> str:
    """The key or group of an override: `+optimizer.lr=1` is about `optimizer.lr`."""
    return override.lstrip("+~").partition("=")[0]


def quoted(override: str) -> str:
    """The override with its value quoted where Hydra could not parse it bare.

    Hydra's grammar has no unquoted `=`, `~` or `#` inside a value, but Lightning's own
    checkpoint names (`epoch=9-step=3910.ckpt`) and home folders (`~/images`) hold them.
    A value with a space is quoted too, since a shell has already taken the user's quotes.
    """
    name, equals, value = override.partition("=")
    if not equals or _KEEPS.match(value):
        return override
    if _NEEDS_QUOTES.search(value) or " " in value:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{name}='{escaped}'"
    return override
