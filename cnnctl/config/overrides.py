"""Override texts, as the user types them, made readable for Hydra's grammar."""

from __future__ import annotations

import re

_NEEDS_QUOTES = re.compile(r"""[=~# !&;<>^`()'"\[\]]|(?<!\$)\{|[^\x00-\x7f]""")
_BEFORE_QUOTE = re.compile(r"(\\*)('|\Z)")
_FUNCTIONS = "int|str|bool|float|choice|range|interval|tag|sort|shuffle|glob"  # of the grammar
_KEEPS = re.compile(rf"""['"\[{{(]|\$\{{|(?:{_FUNCTIONS})\(""")


def key_of(override: str) -> str:
    """The key or group of an override: `+optimizer.lr=1` is about `optimizer.lr`."""
    return override.lstrip("+~").partition("=")[0]


def quoted(override: str) -> str:
    """The override with its value quoted where Hydra could not parse it bare.

    Hydra's grammar has no unquoted `=`, `~`, `#`, `(`, `{` or `é` inside a value, but Lightning's
    own checkpoint names (`epoch=9-step=3910.ckpt`), home folders (`~/images`) and patterns of
    shards (`a-{000..127}.tar`) hold them.
    A value with a space is quoted too, since a shell has already taken the user's quotes.
    Inside Hydra's quotes a backslash is escaped before a quote only.
    """
    name, equals, value = override.partition("=")
    if not equals or _KEEPS.match(value):
        return override
    if _NEEDS_QUOTES.search(value):
        escaped = _BEFORE_QUOTE.sub(lambda m: m[1] * 2 + (m[2] and "\\'"), value)
        return f"{name}='{escaped}'"
    return override
