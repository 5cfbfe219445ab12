"""cnnctl conv: the arithmetic of one layer, with its working. Quick: no torch, no hydra."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cnnctl.audit import arithmetic, convolution
from cnnctl.audit.arithmetic import Pair
from cnnctl.audit.convolution import Layer
from cnnctl.commands import Call
from cnnctl.config.near import did_you_mean
from cnnctl.errors import ConfigError, Problem, SmallImageError, UsageError
from cnnctl.report import equations
from cnnctl.report.format import shape
from cnnctl.report.result import Result

MOST = 99_999  # of a size, a kernel, a number of channels, …
DEEPEST = 100  # layers of a stack
NUMBERS = re.compile(r"[0-9]{1,5}([x×][0-9]{1,5})*")
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
        "working": equations.lines(layer, word, fits),
        "params": layer.params,
        "weights": layer.weights,
        "macs": layer.macs,
        "activations": values,
        "bytes": equations.BYTES * values,
        "receptive_field": [layer.field(0), layer.field(1)],
        "jump": [1 / side if layer.transposed else side for side in layer.stride],
        "alternatives": convolution.costs(layer, reduce),
    }
    return Result("worked", data | ({"stack": _stack(layers)} if times else {}))


def _stack(layers: Sequence[Layer]) -> dict[str, Any]:
    """The layers one by one, and all of them against one kernel that sees as much."""
    rows = equations.stack(layers)
    first, second = rows[-1]["receptive_field"]
    return {
        "rows": rows,
        "params": sum(layer.params for layer in layers),
        "macs": sum(layer.macs for layer in layers),
        "receptive_field": [first, second],
        "jump": rows[-1]["jump"],
        "working": equations.against_one(layers, (first, second)) if layers[0].weights else None,
    }


def read(call: Call) -> Asked:
    """The layer of a command line. Raises UsageError or, with all problems, ConfigError."""
    if len(call.targets) != 1:
        text = f"conv takes one input, got {' and '.join(call.targets) or 'none'}"
        raise UsageError(text, "such as: cnnctl conv 32x32x3 kernel=5 filters=10")
    problems: list[Problem] = []
    *size, channels = _input(call.targets[0], problems)
    given = _given(call.overrides, problems)
    times = _times(call.flags, problems)
    _require([*problems, *_without_effect(given, times)])
    values = _completed(given, channels)
    word, reduce = values["padding"], values.pop("reduce")
    values["padding"] = _pixels(values, problems)
    layer = Layer(size=(size[0], size[1]), **values)
    _require([*problems, *convolution.misfits(layer, reduce)])
    return Asked(layer, word if isinstance(word, str) else None, reduce, times)


def _require(problems: list[Problem]) -> None:
    if problems:
        raise ConfigError(problems)


def _numbers(text: str) -> tuple[int, ...]:
    """1x7 -> (1, 7); empty for what is no such text."""
    return tuple(map(int, re.split("[x×]", text))) if NUMBERS.fullmatch(text) else ()


def _input(text: str, problems: list[Problem]) -> tuple[int, ...]:
    """Height, width and channels: 32x32x3, 7x7 with one channel, 7 for 7x7."""
    numbers = _numbers(text)
    sides = {1: (*numbers, *numbers, 1), 2: (*numbers, 1), 3: numbers}.get(len(numbers))
    if sides and min(sides) >= 1:
        return sides
    wanted = f"HEIGHTxWIDTHxCHANNELS, whole numbers from 1 to {MOST}"
    problems.append(Problem(f"the input must be {wanted}, got '{text}'", "such as 32x32x3"))
    return 1, 1, 1


def _given(overrides: Sequence[str], problems: list[Problem]) -> dict[str, Any]:
    """The values of the keys that have no problem."""
    given: dict[str, Any] = {}
    names = [override.partition("=")[0] for override in overrides]
    for name, override in zip(names, overrides, strict=True):
        text = override.partition("=")[2]
        if name not in KEYS:
            hint = did_you_mean(name, KEYS) or f"keys: {', '.join(KEYS)}"
            problems.append(Problem(f"unknown key '{name}'", hint, name))
        elif (value := _value(name, text)) is None:
            hint = did_you_mean(text, WORDS.get(name, ()))
            problems.append(Problem(f"{name} must be {_wanted(name)}, got '{text}'", hint, name))
        else:
            given[name] = value
    problems += [
        Problem(f"{name} is given more than once", key=name)
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if "kernel" not in names:
        problems.append(Problem("missing key 'kernel'", "such as kernel=3", "kernel"))
    return given


def _value(name: str, text: str) -> Any:
    """A value as it is computed with; None if it is of the wrong kind or out of range."""
    if text in WORDS.get(name, ()):
        return {"true": True, "false": False}.get(text, text)
    numbers = _numbers(text)
    if name in SIDES and len(numbers) in (1, 2) and min(numbers) >= SIDES[name]:
        return numbers[0], numbers[-1]
    if name in COUNTS and len(numbers) == 1 and numbers[0] >= 1:
        return numbers[0]
    return None


def _wanted(name: str) -> str:
    numbers = [f"a whole number from {SIDES.get(name, 1)} to {MOST}"]
    two = ["two such as 1x7"] if name in SIDES else []
    words = [f"one of {', '.join(WORDS[name])}"] if name in WORDS else []
    return " or ".join([*numbers, *two, *words] if name in (*SIDES, *COUNTS) else words)


def _times(flags: Mapping[str, str], problems: list[Problem]) -> int | None:
    """How many layers stand on top of each other; None without --stack."""
    given = flags.get("--stack")
    numbers = _numbers(given or "")
    if len(numbers) == 1 and 1 <= numbers[0] <= DEEPEST:
        return numbers[0]
    if given is not None:
        problems.append(Problem(f"--stack must be from 1 to {DEEPEST}, got '{given}'"))
    return None


def _without_effect(given: dict[str, Any], times: int | None) -> Iterator[Problem]:
    """Keys that mean nothing for this kind of layer."""
    pool, transposed = given.get("pool"), given.get("transposed")
    for holds, names, kind in (
        (pool, NOT_OF_POOLS, "a pool"),
        (pool == "avg", ("dilation",), "an average pool"),
        (transposed, ("reduce",), "a transposed convolution"),
        (not (pool or transposed), ("output_padding",), "a convolution without transposed=true"),
    ):
        for name in names:
            if holds and name in given:
                yield Problem(f"{name} has no effect on {kind}", key=name)
    if transposed and times:
        yield Problem("--stack is for layers that are not transposed")


def _completed(given: dict[str, Any], channels: int) -> dict[str, Any]:
    """The values, with what is usual where nothing is given."""
    pool = "pool" in given
    usual = {
        "channels": channels,
        "filters": channels if pool else 1,
        "stride": given["kernel"] if pool else (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "transposed": False,
        "reduce": None,
    }
    return usual | given


def _pixels(values: dict[str, Any], problems: list[Problem]) -> Pair:
    """The padding in pixels, after a problem for each reason why a word does not fit."""
    word = values["padding"]
    if not isinstance(word, str):
        return word
    if values["transposed"]:
        text = f"padding of a transposed convolution must be a number, got '{word}'"
        problems.append(Problem(text, key="padding"))
    rule = {"valid": lambda *_: 0, "full": arithmetic.full_padding, "same": arithmetic.same_padding}
    sides = zip(values["kernel"], values["dilation"], strict=True)
    first, second = (rule[word](*side) for side in sides)
    for half in (first, second):
        if not isinstance(half, int):
            text = f"padding=same needs D(K − 1)/2 to be whole, got {equations.decimal(half)}"
            problems.append(Problem(text, "use an odd kernel", "padding"))
            break
    if word == "same" and values["stride"] != (1, 1):
        text = f"padding=same needs stride=1, got {equations.once(values['stride'])}"
        problems.append(Problem(text, "give it as a number", "padding"))
    return int(first), int(second)


def _require_output(layers: Sequence[Layer]) -> None:
    """Raises SmallImageError for the first layer that leaves nothing."""
    for number, layer in enumerate(layers, start=1):
        for axis in (0, 1):
            if layer.out(axis) < 1:
                which = "the layer" if number == 1 else f"layer {number}"
                nothing = f"{which} leaves nothing of {shape(layer.size)}"
                raise SmallImageError(
                    f"{nothing}: {equations.size(layer, axis)}", _larger(layer, number)
                )


def _larger(layer: Layer, number: int) -> str:
    """What to type where nothing is left."""
    if number > 1:
        return f"use a larger input, or --stack {number - 1}"
    if layer.transposed:
        return "use less padding"
    least = [max(1, layer.field(axis) - 2 * layer.padding[axis]) for axis in (0, 1)]
    return f"use an input of at least {least[0]}x{least[1]}"
