"""Single values: what an annotation accepts, and how it is said in words."""

from __future__ import annotations

import math
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

from cnnctl.config.duration import Duration, Interval

_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Duration: "a length such as 5epochs, 100steps, 10% or 0",
    Interval: "an interval such as 200steps, 1epoch, 30s, 5min or 2h",
}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts", int | str: "numbers or texts"}


class Mismatch(ValueError):  # noqa: N818 - a value of the wrong kind, not an error of the program
    """The value is not of the wanted kind."""


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
    if hint in (Duration, Interval):
        try:
            return hint.parse(value)
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
        return alternatives(args)
    if origin is tuple:
        if words := choices(hint):
            return f"a list of {', '.join(words)}"
        number = "" if args[-1] is Ellipsis else f"{len(args)} "
        return f"a list of {number}{_PLURALS.get(args[0], 'rows')}"
    if origin is dict:
        return "a section"
    return _NAMES[hint]


def choices(hint: Any) -> tuple[str, ...]:
    """The words of which `hint` takes a list; none if it takes something else."""
    for option in [hint, *get_args(hint)]:
        args = get_args(option)
        if get_origin(option) is tuple and get_origin(args[0]) is Literal and args[-1] is Ellipsis:
            return get_args(args[0])
    return ()


def show(value: Any) -> str:
    """A value in a message: text in quotes, the rest as it is typed."""
    if isinstance(value, str):
        return f"'{value}'"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)


def alternatives(options: typing.Iterable[Any]) -> str:
    """The only option, or `one of a, b`."""
    names = [str(option) for option in options]
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
