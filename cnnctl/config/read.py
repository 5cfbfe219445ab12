"""Untyped to typed: a dict becomes frozen dataclasses, or every problem in it is named."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from cnnctl.config.duration import Duration
from cnnctl.config.near import did_you_mean
from cnnctl.errors import Problem

T = TypeVar("T")
_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Duration: "a length such as 5epochs, 100steps, 10% or 0",
}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}
_LIMITS = {
    "min": (lambda v, limit: v >= limit, "at least"),
    "max": (lambda v, limit: v <= limit, "at most"),
    "above": (lambda v, limit: v > limit, "above"),
    "below": (lambda v, limit: v < limit, "below"),
}


class Mismatch(ValueError):  # noqa: N818 - a value of the wrong kind, not an error of the program
    """The value is not of the wanted kind."""


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
    if variants is not None and isinstance(value, dict):
        name = value.get("name")
        chosen = variants.get(name) if isinstance(name, str) else None
        if chosen is None:
            problems.append(_not_one_of(f"{path}.name", name, variants))
            return None
        return _section(chosen, value, path, problems)
    if dataclasses.is_dataclass(hint) and hint is not Duration:
        return _section(typing.cast("type", hint), value, path, problems)
    try:
        typed = convert(value, hint)
    except Mismatch as wrong:
        if get_origin(hint) is Literal:
            problems.append(_not_one_of(path, value, get_args(hint)))
        else:
            problems.append(Problem(f"{path} must be {wrong}, got {show(value)}", key=path))
        return None
    for bound, (fits, words) in _LIMITS.items():
        if bound in field.metadata and not _every(
            typed, lambda v, f=fits, b=bound: f(v, field.metadata[b])
        ):
            limit = field.metadata[bound]
            problems.append(Problem(f"{path} must be {words} {limit}, got {show(value)}", key=path))
    return typed


def convert(value: Any, hint: Any) -> Any:
    """`value` as the annotation `hint` says; raises Mismatch with the name of what is wanted."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for option in get_args(hint):
            try:
                return convert(value, option)
            except Mismatch:
                continue
        raise Mismatch(kind(hint))
    if origin is tuple:
        return _tuple(value, hint)
    if hint is Duration:
        try:
            return Duration.parse(value)
        except ValueError as wrong:
            raise Mismatch(str(wrong)) from wrong
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = (
        any(value == option and type(value) is type(option) for option in get_args(hint))
        if origin is Literal
        else isinstance(value, origin or hint)
        and not (isinstance(value, bool) and hint is not bool)
    )
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise Mismatch(kind(hint))
    return value


def _tuple(value: Any, hint: Any) -> tuple[Any, ...]:
    args = get_args(hint)
    open_ended = args[-1] is Ellipsis
    if not isinstance(value, (list, tuple)) or (not open_ended and len(value) != len(args)):
        raise Mismatch(kind(hint))
    wanted = [args[0]] * len(value) if open_ended else list(args)
    try:
        return tuple(convert(item, option) for item, option in zip(value, wanted, strict=True))
    except Mismatch as wrong:
        raise Mismatch(kind(hint)) from wrong


def kind(hint: Any) -> str:
    """The annotation in words: `a whole number or null`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(kind(option) for option in args)
    if origin is Literal:
        return _alternatives(args)
    if origin is tuple:
        return f"a list of {'' if args[-1] is Ellipsis else f'{len(args)} '}{_PLURALS[args[0]]}"
    if origin is dict:
        return "a section"
    return _NAMES[hint]


def show(value: Any) -> str:
    """A value in a message: text in quotes, the rest as it is typed."""
    if isinstance(value, str):
        return f"'{value}'"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)


def _alternatives(options: typing.Iterable[Any]) -> str:
    names = [str(option) for option in options]
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _every(value: Any, holds: typing.Callable[[Any], bool]) -> bool:
    items = value if isinstance(value, tuple) else (value,)
    return all(holds(item) for item in items if isinstance(item, (int, float)))


def _not_one_of(path: str, value: Any, options: typing.Iterable[Any]) -> Problem:
    names = [str(option) for option in options]
    text = f"{path} must be {_alternatives(names)}, got {show(value)}"
    return Problem(text, did_you_mean(value, names) if isinstance(value, str) else None, path)
