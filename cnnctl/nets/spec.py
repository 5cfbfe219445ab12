"""What the YAML file of every net says, whatever its family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cnnctl.config.schema import key
from cnnctl.errors import Problem

Init = Literal["torch", "he", "he_fan_out", "xavier", "gaussian", "lecun"]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The part of a net's numbers that all families share."""

    name: str = key("name of the net")
    family: str = key("the class that builds it")
    year: int | None = key("year of the paper")
    paper: str = key("authors, year and title of the paper")
    input: tuple[int, int, int] = key("channels, height and width of the paper's input", min=1)
    classes: int = key("classes of the paper's data set; training takes those of the data", min=2)
    twin: str | None = key("torchvision/NAME or timm/NAME: the net whose weights fit")
    init: Init = key("how the weights start")
    strict: bool = key("refuse sizes that a stride does not divide, instead of rounding down")

    @property
    def published(self) -> str | None:
        """The library's net whose weights fit all of this one, or its first layers."""
        return self.twin

    def problems(self) -> Iterator[Problem]:
        """What is wrong between numbers that each are fine alone."""
        yield from ()


def per_stage(depths: Sequence[int], widths: Sequence[int]) -> Iterator[Problem]:
    """A problem unless there is a depth and a width for each of at least one stage."""
    if not depths or len(depths) != len(widths):
        given = f"{len(depths)} and {len(widths)}"
        text = f"model.depths and model.widths want a number for each stage, got {given}"
        yield Problem(text, key="model.depths")


@dataclass(frozen=True, kw_only=True)
class ImageNetSpec(Spec):
    """What the nets made for 224x224 pixels have in addition."""

    small_input: bool = key("a stem for small images, such as 32x32: no early reduction")
