"""What the YAML file of every net says, whatever its family."""

from __future__ import annotations

from dataclasses import dataclass

from cnnctl.config.schema import key


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The part of a net's numbers that all families share."""

    name: str = key("name of the net")
    family: str = key("the class that builds it")
    year: int = key("year of the paper")
    paper: str = key("authors, year and title of the paper")
    input: tuple[int, int, int] = key("channels, height and width of the paper's input", min=1)
