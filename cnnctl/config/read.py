"""Untyped to typed: a dict becomes frozen dataclasses, or every problem in it is named."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal, TypeVar, get_args, get_origin

from cnnctl.config.duration import Duration, Interval
from cnnctl.config.kinds import Mismatch, alternatives, choices, convert, show
from cnnctl.config.near import did_you_mean
from cnnctl.config.rows import is_table, read_table, rows
from cnnctl.errors import Problem

T = TypeVar("T")
_LIMITS = {
    "min": (lambda v, limit: v >= limit, "at least"),
    "max": (lambda v, limit: v <= limit, "at most"),
    "above": (lambda v, limit: v > limit, "above"),
    "below": (lambda v, limit: v < limit, "below"),
}


def read(cls: type[T], data: Any, path: str = "") -> tuple[T | None, list[Problem]]:
    """Build `cls` from `data`; returns the object, or None and all problems.

    `path` is the dotted place of `data` in the whole configuration, for the messages.
    """
    problems: list[Problem] = []
    value = _section(cls, data, path, problems)
    return (None, problems) if problems else (value, [])


def read_parts(cls: type, data: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The fields of `cls` that can be read from `data`, and the problems of the others.

    What is right can so be checked further although something else is wrong.
    """
    problems: list[Problem] = []
    return _values(cls, data, "", problems), problems


def _section(cls: type[T], data: Any, path: str, problems: list[Problem]) -> T | None:
    if not isinstance(data, dict):
        problems.append(Problem(f"{path} must be a section, got {show(data)}", key=path))
        return None
    before = len(problems)
    values = _values(cls, data, path, problems)
    return None if len(problems) > before else cls(**values)


def _values(cls: type, data: dict[str, Any], path: str, problems: list[Problem]) -> dict[str, Any]:
    """The values of those fields that have no problem."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    prefix = f"{path}." if path else ""
    for name in data:
        if name not in fields:
            known = [f"{prefix}{field}" for field in fields]
            unknown = f"{prefix}{name}"
            problems.append(
                Problem(f"unknown key '{unknown}'", did_you_mean(unknown, known), unknown)
            )
    values = {}
    for name, field in fields.items():
        if name not in data:
            problems.append(Problem(f"missing key '{prefix}{name}'", key=f"{prefix}{name}"))
            continue
        before = len(problems)
        value = _field(field, hints[name], data[name], f"{prefix}{name}", problems)
        if len(problems) == before:
            values[name] = value
    return values


def _field(
    field: dataclasses.Field[Any],
    hint: Any,
    value: Any,
    path: str,
    problems: list[Problem],
) -> Any:
    variants = field.metadata.get("variants")
    if variants is not None:
        return _variant(variants, hint, value, path, problems)
    if dataclasses.is_dataclass(hint) and hint not in (Duration, Interval):
        return _section(typing.cast("type", hint), value, path, problems)
    if is_table(hint):
        return _table(field, hint, value, path, problems)
    try:
        typed = convert(value, hint)
    except Mismatch as wrong:
        if get_origin(hint) is Literal:
            problems.append(_not_one_of(path, value, get_args(hint)))
        elif isinstance(value, list) and (words := choices(hint)):
            unknown = [item for item in value if item not in words]
            problems.append(_not_one_of(path, unknown[0], words, "each of "))
        else:
            problems.append(Problem(f"{path} must be {wrong}, got {show(value)}", key=path))
        return None
    return _within(field, typed, value, path, problems)


def _variant(
    variants: dict[str, type], hint: Any, value: Any, path: str, problems: list[Problem]
) -> Any:
    """A section by the class that its name chooses; null where that is allowed."""
    optional = type(None) in get_args(hint)
    if value is None and optional:
        return None
    if not isinstance(value, dict):
        wanted = "a section or null" if optional else "a section"
        problems.append(Problem(f"{path} must be {wanted}, got {show(value)}", key=path))
        return None
    name = value.get("name")
    chosen = variants.get(name) if isinstance(name, str) else None
    if chosen is None:
        problems.append(_not_one_of(f"{path}.name", name, variants))
        return None
    return _section(chosen, value, path, problems)


def _table(
    field: dataclasses.Field[Any], hint: Any, value: Any, path: str, problems: list[Problem]
) -> Any:
    """The rows of a table, after a problem for each that does not fit or breaks a limit."""
    before = len(problems)
    typed = read_table(hint, value, path, problems)
    if len(problems) == before:
        for place, row, given in rows(hint, typed, value, path):
            _within(field, row, given, place, problems)
    return typed


def _within(
    field: dataclasses.Field[Any], typed: Any, value: Any, path: str, problems: list[Problem]
) -> Any:
    """`typed`, after a problem for each limit that it breaks."""
    for bound, (fits, words) in _LIMITS.items():
        if bound in field.metadata and not _every(
            typed, lambda v, f=fits, b=bound: f(v, field.metadata[b])
        ):
            limit = field.metadata[bound]
            problems.append(Problem(f"{path} must be {words} {limit}, got {show(value)}", key=path))
    return typed


def _every(value: Any, holds: typing.Callable[[Any], bool]) -> bool:
    if isinstance(value, tuple):
        return all(_every(item, holds) for item in value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return not number or holds(value)


def _not_one_of(
    path: str, value: Any, options: typing.Iterable[Any], which: str = ""
) -> Problem:  # fmt: skip
    names = [str(option) for option in options]
    text = f"{which}{path} must be {alternatives(names)}, got {show(value)}"
    return Problem(text, did_you_mean(value, names) if isinstance(value, str) else None, path)
