"""Fields of the sections of a configuration."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def key(text: str, **limits: float) -> Any:
    """A field with its help text; limits are `min`, `max`, `above` and `below`."""
    return field(metadata={"help": text, **limits})


def section(text: str, variants: dict[str, type]) -> Any:
    """A section whose keys depend on its `name`."""
    return field(metadata={"help": text, "variants": variants})
