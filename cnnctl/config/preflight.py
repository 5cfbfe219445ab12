"""The pre-flight: a composed dict becomes typed, or one error names all that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnctl.config import rules, schema
from cnnctl.config.overrides import key_of
from cnnctl.config.read import read_parts
from cnnctl.errors import ConfigError, Problem


def check(
    config: dict[str, Any], problems: Sequence[Problem]
) -> tuple[schema.Train | None, list[Problem]]:
    """Schema and rules on top of what composing found, one problem per key. Needs no torch."""
    parts, found = read_parts(schema.Train, config)
    train = None if found else schema.Train(**parts)
    return train, merge(problems, [*found, *rules.broken(parts)])


def merge(first: Sequence[Problem], more: Sequence[Problem]) -> list[Problem]:
    """`first`, and those of `more` that are about other keys."""
    named = {problem.key for problem in first if problem.key}
    return [*first, *(problem for problem in more if problem.key not in named)]


def changes_model(overrides: Sequence[str]) -> bool:
    """Whether single numbers of the net are set: then its Spec is read even beside errors."""
    return any(key_of(override).startswith("model.") for override in overrides)


def require(problems: Sequence[Problem]) -> None:
    """Raise ConfigError if there are problems."""
    if problems:
        raise ConfigError(problems)
