"""cnnctl upsample: the five ways up side by side, on an image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnctl.commands import Call
from cnnctl.config.near import did_you_mean
from cnnctl.errors import ConfigError, DataError, Problem, UsageError
from cnnctl.report.result import Result

if TYPE_CHECKING:
    from torch import Tensor

KEYS = ("by", "size", "output")
WORDS = {"by": ("2", "4", "8")}
LEAST, MOST = 8, 512  # pixels of a side
SIZE, BY = "64", "4"  # unless told: small enough that pixels are seen
DIGIT = 3  # of the shipped ones
FILE = "upsample.png"


class Asked(NamedTuple):
    """What a command line asks for."""

    file: str | None
    by: int
    size: int
    output: Path


def run(call: Call) -> Result:
    """Make the picture. Raises UsageError, ConfigError or DataError before anything is written."""
    asked = read(call)
    from cnnctl.data import places

    image = _digit(asked.size) if asked.file is None else _image(asked.file, asked.size)
    sheet, rows = _drawn(image, asked.by)
    try:
        places.write(asked.output, sheet)
    except OSError as wrong:
        raise UsageError(f"cannot write {asked.output}: {wrong.strerror}") from wrong
    told = {"file": str(asked.output), "image": asked.file, "by": asked.by, "size": asked.size}
    return Result("upsampled", {**told, "ways": rows})


def read(call: Call) -> Asked:
    """The command line. Raises UsageError, or ConfigError with all problems."""
    if len(call.targets) > 1:
        text = f"upsample takes one image, got {' and '.join(call.targets)}"
        raise UsageError(text, "cnnctl upsample cat.jpg")
    file = call.targets[0] if call.targets else None
    problems: list[Problem] = []
    given = _given(call.overrides, problems)
    by = given.get("by", BY)
    if by not in WORDS["by"]:
        text = f"by must be one of {', '.join(WORDS['by'])}, got '{by}'"
        problems.append(Problem(text, key="by"))
        by = BY
    size = _size(given.get("size", SIZE), int(by), problems)
    output = Path(given.get("output", FILE)).expanduser()
    problems += _place(output)
    if problems:
        raise ConfigError(problems)
    return Asked(file, int(by), size, output)


def _given(overrides: Sequence[str], problems: list[Problem]) -> dict[str, str]:
    """The text of every key; a problem for what is none, and for what is there twice."""
    given: dict[str, str] = {}
    for override in overrides:
        name, _, text = override.partition("=")
        if name not in KEYS:
            hint = did_you_mean(name, KEYS) or f"keys: {', '.join(KEYS)}"
            problems.append(Problem(f"unknown key '{name}'", hint, name))
        elif name in given:
            problems.append(Problem(f"{name} is given more than once", key=name))
        given[name] = text
    return given


def _size(text: str, by: int, problems: list[Problem]) -> int:
    size = int(text) if re.fullmatch("[0-9]{1,4}", text) else 0
    if not LEAST <= size <= MOST:
        wrong = f"size must be a whole number from {LEAST} to {MOST}, got '{text}'"
        problems.append(Problem(wrong, "pixels of a side", "size"))
    elif size % by:
        wrong = f"size={size} is no multiple of by={by}"
        problems.append(Problem(wrong, f"size={size // by * by}", "size"))
    return size


def _place(output: Path) -> list[Problem]:
    """Whether there is a place for what will be written."""
    if output.suffix != ".png":
        hint = f"output={output.stem or 'upsample'}.png"
        return [Problem(f"output must end in .png, got '{output}'", hint, "output")]
    if output.is_dir() or not output.absolute().parent.is_dir():
        why = "it is a folder" if output.is_dir() else f"there is no folder {output.parent}"
        return [Problem(f"output: cannot write {output}: {why}", key="output")]
    return []


def _digit(size: int) -> Tensor:
    """One of the shipped digits, uint8 (1, size, size)."""
    from cnnctl.data import digits

    return digits.one(DIGIT, size)


def _image(file: str, size: int) -> Tensor:
    """A file, uint8 (3, size, size): the short side resized, the centre kept."""
    from cnnctl.data import pictures

    try:
        return pictures.read(str(Path(file).expanduser()), 3, size).pixels
    except DataError as wrong:
        raise DataError(f"cannot read {file}: {wrong.message}") from wrong


def _drawn(image: Tensor, by: int) -> tuple[bytes, list[dict[str, Any]]]:
    """The picture, and how far each way is from the image."""
    from cnnctl.nets.ways_up import ways
    from cnnctl.report import panels, upsampled

    true, size = image.float() / 255, image.shape[1]
    found = ways(true, by)
    maps = {"image": true, "max-pooled": found.pooled, **found.up}
    words = upsampled.words(by, size)
    shown = [panels.Panel(_bytes(one), name, words[name]) for name, one in maps.items()]
    rows = [
        {"name": name, "rmse": float((one - true).square().mean().sqrt()), "about": words[name]}
        for name, one in found.up.items()
    ]
    return panels.png(shown), rows


def _bytes(values: Tensor) -> Any:
    """Intensities as uint8; what is beyond black and white is cut off."""
    return (values * 255).round().clamp(0, 255).byte().numpy()
