"""What the values in mask files mean: which number or colour is which class; without torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from cnnctl.config.kinds import show

MOST_CLASSES = 255  # a pixel of a mask is a byte, of which one value is ignored
MOST = 65535  # of a pixel of 16 bits
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
Value = int | str
T = TypeVar("T")


class Fault(NamedTuple):
    """What is wrong with one of `classes`, `values` and `ignore`, and what to give instead."""

    key: str
    text: str
    hint: str | None = None


@dataclass(frozen=True)
class Legend:
    """The value of each class, and those of pixels that count nowhere.

    Values are grey levels or indices of a palette, or, where they are `coloured`, 0xrrggbb.
    `file` is where they are written, None if that is the configuration.
    """

    classes: tuple[str, ...]
    values: tuple[int, ...]
    ignored: tuple[int, ...] = ()
    coloured: bool = False
    file: str | None = None

    def show(self, values: Iterable[int]) -> str:
        """As they are given: 0, 255 or '#000000', '#ff0000'."""
        return ", ".join(f"'#{one:06x}'" if self.coloured else str(one) for one in values)

    def with_values(self, values: Iterable[int]) -> str:
        """What to write so that the classes have these values."""
        if self.file is None:
            return f"data.values=[{self.show(values)}]"
        told = self.show(values).replace("'", "")
        return f"give the classes in {self.file} the values {told}"

    def with_ignored(self, value: int) -> str:
        """What to write so that a value counts nowhere."""
        if self.file is None:
            return f"data.ignore=[{self.show([*self.ignored, value])}]"
        told = self.show([value]).replace("'", "")
        return f"a line in {self.file}: ignore {told}"


def listed(ignore: Value | Sequence[Value] | None) -> tuple[Value, ...]:
    """None, one or several as several."""
    if ignore is None:
        return ()
    return (ignore,) if isinstance(ignore, (int, str)) else tuple(ignore)


def faults(
    classes: Sequence[str], values: Sequence[Value] | None, ignored: Sequence[Value]
) -> Iterator[Fault]:
    """All that keeps these from being a legend; without values they are 0, 1, 2 and so on."""
    if not 2 <= len(classes) <= MOST_CLASSES:  # noqa: PLR2004 - one class leaves nothing to learn
        yield Fault("classes", f"must be 2 to {MOST_CLASSES} names, got {len(classes)}")
    if twice := _twice(classes):
        yield Fault("classes", f"has '{twice[0]}' twice", "every class needs a name of its own")
    if values is not None and len(values) != len(classes):
        text = f"must be one for each of {len(classes)} classes, got {len(values)}"
        yield Fault("values", text, ", ".join(classes))
    given = range(len(classes)) if values is None else values
    for key, some in (("values", given), ("ignore", ignored)):
        if wrong := [one for one in some if not _is_value(one)]:
            text = f"must be numbers from 0 to {MOST} or colours, got {show(wrong[0])}"
            yield Fault(key, text, "a colour is '#rrggbb', in quotes")
    if len({isinstance(one, str) for one in (*given, *ignored)}) > 1:
        key = "values" if len({isinstance(one, str) for one in given}) > 1 else "ignore"
        yield Fault(key, "mixes numbers and colours", "all of them must be the one or the other")
    numbers = [_number(one) for one in given if _is_value(one)]
    others = [_number(one) for one in ignored if _is_value(one)]
    if twice := _twice(numbers):
        yield Fault("values", f"has one value twice: {_typed(twice[0], given)}")
    if both := [one for one in ignored if _is_value(one) and _number(one) in numbers]:
        yield Fault("ignore", f"has {both[0]}, which is the value of a class")
    if twice := _twice(others):
        yield Fault("ignore", f"has one value twice: {_typed(twice[0], ignored)}")


def legend(
    classes: Sequence[str], values: Sequence[Value] | None, ignored: Sequence[Value],
    file: str | None = None,
) -> Legend:  # fmt: skip
    """The legend of these, which have no faults."""
    given = range(len(classes)) if values is None else values
    coloured = any(isinstance(one, str) for one in given)
    numbers, others = (tuple(map(_number, some)) for some in (given, ignored))
    return Legend(tuple(classes), numbers, others, coloured, file)


def _is_value(value: Value) -> bool:
    if isinstance(value, str):
        return COLOUR.fullmatch(value) is not None
    return 0 <= value <= MOST


def _number(value: Value) -> int:
    return int(value[1:], 16) if isinstance(value, str) else value


def _typed(number: int, given: Iterable[Value]) -> Value:
    return next(one for one in given if _is_value(one) and _number(one) == number)


def _twice(items: Iterable[T]) -> list[T]:
    return [one for one, often in Counter(items).items() if often > 1]
