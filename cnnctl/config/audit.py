"""What `cnnctl audit` composes, and the sizes that people type: 3x224x224, 24GB."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnctl.config.learning import OPTIMIZERS, Optimizer
from cnnctl.config.schema import DATA, Data, Precision, key, section
from cnnctl.errors import Problem

UNITS = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?B)")
SHAPE = re.compile(r"(\d+)[x×](\d+)[x×](\d+)")

GROUPS = ("model", "data", "optimizer")  # sections that are chosen: a folder of files each

Memory = Literal["rows", "slides", "outputs", "saved", "peak"]
Detail = Literal["blocks", "layers", "all"]
Format = Literal["table", "json", "csv", "md", "html", "svg", "dot"]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Everything that `cnnctl audit` composes."""

    input: str | None = key("channels x height x width of an image: 3x224x224")
    sizes: tuple[int, ...] | None = key("sides of images to compare costs at: [188,380,572]", min=1)
    framed: bool | None = key(
        "nets for masks: with mirrored borders, as trained; null: of runs and data=… alone"
    )
    classes: int | None = key("classes; null: those of the data or the paper", min=2)
    batch_size: int = key("images per device and step", min=1)
    accumulate: int = key("batches whose gradients add up to one step", min=1)
    precision: Precision = key("number format of weights and arithmetic")
    channels_last: bool = key("images stored pixel by pixel, not channel by channel")
    accelerator: Literal["cpu", "gpu"] = key("whose allocator and update loop are meant")
    memory: Memory = key("what the memory columns count")
    detail: Detail = key("rows: blocks alone, their layers, or activations and dropout too")
    budget: tuple[str, ...] | None = key("memories to fit into: 3GB,24GB")
    reserve: str | None = key(
        "memory that tensors cannot have; null: 0 on a CPU, estimated on a GPU"
    )
    format: Format = key("what is printed")
    model: dict[str, Any] = field(metadata={"help": "the net: the numbers of its paper's table"})
    data: Data | None = section(
        "the images whose size and classes are taken; null: the paper's", DATA
    )
    optimizer: Optimizer = section("the update rule of a training step", OPTIMIZERS)


def size(text: str) -> int:
    """24GB -> 24,000,000,000 bytes; 8GiB -> 8·2^30. Raises ValueError for anything else."""
    found = SIZE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return int(float(found[1]) * UNITS[found[2]])


def shape(text: str) -> tuple[int, int, int]:
    """3x224x224 -> (3, 224, 224). Raises ValueError for anything else."""
    found = SHAPE.fullmatch(text)
    if found is None or 0 in map(int, found.groups()):
        raise ValueError(text)
    return int(found[1]), int(found[2]), int(found[3])


def choices() -> dict[str, tuple[str, ...]]:
    """The keys, each with the words that it can be set to; none for a number, a size, a section."""
    words: dict[Any, tuple[Any, ...]] = {bool: ("true", "false")}
    return {
        name: words.get(hint, typing.get_args(hint) if typing.get_origin(hint) is Literal else ())
        for name, hint in typing.get_type_hints(Audit).items()
    }


def broken(audit: Audit) -> list[Problem]:
    """Sizes that cannot be read, and options without effect."""
    return [*_unread(audit), *_idle(audit)]


def _unread(audit: Audit) -> Iterator[Problem]:
    for name, texts in (("budget", audit.budget or ()), ("reserve", (audit.reserve or "0B",))):
        for text in texts:
            if not _reads(size, text):
                wrong = f"{name} wants a size such as 24GB or 8GiB, got '{text}'"
                yield Problem(wrong, key=name)
    if audit.budget == ():
        yield Problem("budget names no memory", "budget=3GB,24GB", "budget")
    if audit.sizes == ():
        yield Problem("sizes names no size", "sizes=224,448", "sizes")
    if audit.input is not None and not _reads(shape, audit.input):
        wrong = f"input wants channels x height x width such as 3x224x224, got '{audit.input}'"
        yield Problem(wrong, key="input")


def _idle(audit: Audit) -> Iterator[Problem]:
    if audit.reserve is not None and audit.budget is None:
        wrong = f"reserve={audit.reserve} has no effect without a budget"
        yield Problem(wrong, "budget=24GB", "reserve")
    for name in ("input", "classes"):
        if audit.data is not None and getattr(audit, name) is not None:
            wrong = f"{name} has no effect beside data={audit.data.name}"
            yield Problem(wrong, "leave out one of the two", name)


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True
