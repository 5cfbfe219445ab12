"""Tables in a configuration: lists of rows, each read on its own so that it can be named."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from cnnctl.config.kinds import Mismatch, convert, show
from cnnctl.errors import Problem


def is_table(hint: Any) -> bool:
    """Whether the annotation is a tuple of rows: of NamedTuples or of tuples."""
    return get_origin(hint) is tuple and _is_row(get_args(hint)[0])


def read_table(hint: Any, value: Any, path: str, problems: list[Problem]) -> tuple[Any, ...]:
    """The rows of `value`, and a problem for each that does not fit."""
    if not isinstance(value, (list, tuple)):
        problems.append(Problem(f"{path} must be a list of rows, got {show(value)}", key=path))
        return ()
    row = get_args(hint)[0]
    return tuple(_row(row, given, f"{path}.{n}", problems) for n, given in enumerate(value))


def rows(hint: Any, typed: Any, value: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The path, the typed and the given values of each row of a table, however deep it is."""
    if not is_table(hint):
        yield path, typed, value
        return
    (row, *_) = get_args(hint)
    for number, (one, given) in enumerate(zip(typed, value, strict=True)):
        yield from rows(row, one, given, f"{path}.{number}")


def _is_row(hint: Any) -> bool:
    return hasattr(hint, "_fields") or get_origin(hint) is tuple


def _row(hint: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    if is_table(hint):
        return read_table(hint, value, path, problems)
    if not hasattr(hint, "_fields"):
        try:
            return convert(value, hint)
        except Mismatch as wrong:
            problems.append(Problem(f"{path} must be {wrong}, got {show(value)}", key=path))
            return None
    names = hint._fields
    types = typing.get_type_hints(hint)
    try:
        return hint(*convert(value, tuple[tuple(types[name] for name in names)]))
    except Mismatch:
        word = "numbers" if set(types.values()) <= {int, float} else "values"
        text = f"{path}: want {len(names)} {word} ({', '.join(names)}), got {show(value)}"
        problems.append(Problem(text, key=path))
        return None
