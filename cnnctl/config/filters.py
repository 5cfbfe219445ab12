"""Which nets `cnnctl list models` shows: --family, --max-params, --year."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cnnctl.config.near import did_you_mean
from cnnctl.errors import UsageError

FLAGS = ("--family", "--max-params", "--year")
UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}
COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMB]?)", re.IGNORECASE)
YEARS = re.compile(r"(\d{4})(?:-(\d{4}))?")


class Wanted(NamedTuple):
    """What a net must be: of a family, with at most so many parameters, of these years."""

    family: str | None
    most: float | None
    years: tuple[int, int] | None

    def holds(self, net: dict[str, Any]) -> bool:
        """Whether a net passes; one whose number is not known does not."""
        params, year = net["params"], net["year"]
        return (
            (self.family is None or net["family"] == self.family)
            and (self.most is None or (params is not None and params <= self.most))
            and (self.years is None or (year is not None and _between(year, self.years)))
        )


def read(flags: Mapping[str, str]) -> Wanted:
    """The filters among the flags of a command line. Raises UsageError for a faulty value."""
    most = years = None
    if "--max-params" in flags:
        given = flags["--max-params"]
        found = COUNT.fullmatch(given)
        if found is None:
            raise UsageError(f"--max-params takes a number such as 500K or 5M, got '{given}'")
        most = float(found[1]) * UNITS[found[2].upper()]
    if "--year" in flags:
        given = flags["--year"]
        found = YEARS.fullmatch(given)
        if found is None:
            raise UsageError(f"--year takes a year or two, 2015 or 2012-2016, got '{given}'")
        years = (int(found[1]), int(found[2] or found[1]))
    return Wanted(flags.get("--family"), most, years)


def chosen(nets: list[dict[str, Any]], wanted: Wanted) -> list[dict[str, Any]]:
    """The nets that pass. Raises UsageError for a family that no net has."""
    families = sorted({str(net["family"]) for net in nets})
    if wanted.family is not None and wanted.family not in families:
        hint = did_you_mean(wanted.family, families) or f"one of {', '.join(families)}"
        raise UsageError(f"no net is of a family '{wanted.family}'", hint)
    return [net for net in nets if wanted.holds(net)]


def _between(year: int, years: tuple[int, int]) -> bool:
    return years[0] <= year <= years[1]
