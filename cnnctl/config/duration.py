"""Lengths: `5epochs`, `100steps` or `10%` of a training, and intervals such as `5min`."""

from __future__ import annotations

import re
from dataclasses import dataclass

SECONDS = {"s": 1, "min": 60, "h": 3600}
OFTEN = re.compile(r"(\d+(?:\.\d+)?) ?(steps?|epochs?|s|min|h)")
FORM = re.compile(r"(\d+(?:\.\d+)?) ?(steps?|epochs?|%)")


@dataclass(frozen=True)
class Duration:
    """An amount and its unit: `steps`, `epochs` or `%`."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Read `5epochs`, `1epoch`, `100steps`, `10%`, or 0.

        Raises ValueError, saying what is allowed.
        """
        if text == 0 and not isinstance(text, bool):
            return cls(0, "steps")
        match = FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            message = "a length such as 5epochs, 100steps, 10% or 0"
            raise ValueError(message)
        amount, unit = float(match[1]), match[2]
        if unit == "%" and amount > 100:  # noqa: PLR2004 - a whole
            message = "at most 100%"
            raise ValueError(message)
        return cls(amount, unit if unit == "%" else unit.rstrip("s") + "s")

    def steps(self, *, per_epoch: int, total: int) -> int:
        """This length in optimizer steps."""
        whole = {"steps": 1, "epochs": per_epoch, "%": total / 100}[self.unit]
        return round(self.amount * whole)

    def __str__(self) -> str:
        return f"{self.amount:g}{self.unit}"


@dataclass(frozen=True)
class Interval:
    """How often: an amount and its unit, `steps`, `epochs` or `s`."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: object) -> Interval:
        """Read `200steps`, `1epoch`, `30s`, `5min` or `2h`.

        Raises ValueError, saying what is allowed.
        """
        match = OFTEN.fullmatch(text) if isinstance(text, str) else None
        amount = float(match[1]) if match else 0.0
        if match is None or amount == 0 or (match[2] not in SECONDS and amount % 1):
            message = "an interval such as 200steps, 1epoch, 30s, 5min or 2h"
            raise ValueError(message)
        if match[2] in SECONDS:
            return cls(amount * SECONDS[match[2]], "s")
        return cls(amount, match[2].rstrip("s") + "s")

    def __str__(self) -> str:
        return f"{self.amount:g}{self.unit}"
