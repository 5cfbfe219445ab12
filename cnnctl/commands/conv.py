"""cnnctl conv: the arithmetic of one layer, with its working. Quick: no torch, no hydra."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cnnctl.audit import arithmetic, convolution
from cnnctl.audit.convolution import Layer
from cnnctl.commands import Call
from cnnctl.config.near import did_you_mean
from cnnctl.errors import ConfigError, Problem, SmallImageError, UsageError
from cnnctl.report import working
from cnnctl.report.result import Result

MOST = 999_999  # of a size, a kernel, a number of channels, …
DEEPEST = 100  # layers of a stack
NUMBERS = re.compile(r"[0-9]{1,6}([x×][0-9]{1,6})*")
SIDES = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}  # the least
COUNTS = ("filters", "groups", "reduce")
WORDS: dict[str, tuple[str, ...]] = {
    "padding": ("same", "valid", "full"),
    "pool": ("max", "avg"),
    "bias": ("true", "false"),
    "transposed": ("true", "false"),
}
KEYS = (*SIDES, *COUNTS, "pool", "bias", "transposed")
NOT_OF_POOLS = ("filters", "groups", "reduce", "bias", "transposed", "output_padding")


class Asked(NamedTuple):
    """What a command line asks for; `word` is a padding that was given as a word."""

    layer: Layer
    word: str | None
    reduce: int | None
    times: int | None


def run(call: Call) -> Result:
    """Work one layer out, and a stack of them."""
    layer, word, reduce, times = read(call)
    layers = convolution.stack(layer, times or 1)
    _require_output(layers)
    fits, values = convolution.fits(layer), math.prod(layer.output) * layer.filters
    data = {
        "input": [*layer.size, layer.channels],
        "output": [*layer.output, layer.filters],
        "unrounded": [float(layer.out(0)), float(layer.out(1))],
        "exact": layer.exact,
        "fits": fits,
        "working": working.lines(layer, word, fits),
        "params": layer.params,
        "weights": layer.weights,
        "macs": layer.macs,
        "activations": values,
        "bytes": working.BYTES * values,
        "receptive_field": [layer.field(0), layer.field(1)],
        "jump": [1 / side if layer.transposed else side for side in layer.stride],
        "alternatives": _alternatives(layer, reduce),
    }
    return Result("worked", data | ({"stack": _stack(layers)} if times else {}))


def read(call: Call) -> Asked:
    """The layer of a command line. Raises UsageError or, with all problems, ConfigError."""
    if len(call.targets) != 1:
        text = f"conv takes one input, got {' and '.join(call.targets) or 'none'}"
        raise UsageError(text, "such as: cnnctl conv 32x32x3 kernel=5 filters=10")
    problems: list[Problem] = []
    size = _input(call.targets[0], problems)
    given = _given(call.overrides, problems)
    times = _times(call.flags, problems)
    problems += _without_effect(given, times)
    _require(problems)
    values = _completed(given)
    _require(_misfits(values, size[2]))
    word = values["padding"] if isinstance(values["padding"], str) else None
    reduce = values.pop("reduce")
    values["padding"] = _pixels(values)
    layer = Layer(size=size[:2], channels=size[2], **values)
    ...
