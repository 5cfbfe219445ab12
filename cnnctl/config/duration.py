"""A length of training: `5epochs`, `100steps` or `10%` of the whole."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
