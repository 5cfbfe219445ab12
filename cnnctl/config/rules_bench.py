"""Rules about what is measured, told without torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from cnnctl.config.audit import shape
from cnnctl.config.verbs import Bench
from cnnctl.errors import Problem

HALF = ("16-mixed", "16-true")


def broken(bench: Bench, given: Collection[str], *, zoo: bool) -> Iterator[Problem]:
    """What does not go together, or has no effect; `given` are the keys on the command line."""
    yield from _lists(bench, given, zoo=zoo)
    yield from _number_formats(bench)
    if bench.input is not None:
        try:
            shape(bench.input)
        except ValueError:
            text = f"input wants channels x height x width such as 3x224x224, got '{bench.input}'"
            yield Problem(text, key="input")
    if bench.threads is not None and bench.device in ("gpu", "mps"):
        text = f"threads={bench.threads} has no effect on device={bench.device}"
        yield Problem(text, "leave it out, or device=cpu", "threads")
    if bench.device == "mps" and bench.engines == ("onnxruntime",):
        text = "engines=onnxruntime does not run on device=mps"
        yield Problem(text, "engines=eager, or device=cpu", "engines")


def _lists(bench: Bench, given: Collection[str], *, zoo: bool) -> Iterator[Problem]:
    for name in ("batch", "engines"):
        values = getattr(bench, name)
        if values is None:
            continue
        typed = ",".join(map(str, values))
        if not values:
            yield Problem(f"{name} is empty: nothing to measure", f"leave out {name}", name)
        elif len(set(values)) < len(values):
            once = ",".join(map(str, dict.fromkeys(values)))
            yield Problem(f"{name}={typed} names one twice", f"{name}={once}", name)
        elif zoo and name in given and len(values) > 1:
            text = f"--zoo draws one figure of each net, got {name}={typed}"
            yield Problem(text, f"{name}={values[0]}", name)


def _number_formats(bench: Bench) -> Iterator[Problem]:
    if bench.precision in HALF and bench.device == "cpu":
        text = f"precision={bench.precision} needs a GPU, got device=cpu"
        yield Problem(text, "on a CPU use 32-true, bf16-mixed or bf16-true", "precision")
    elif bench.precision != "32-true" and bench.engines == ("onnxruntime",):
        text = f"precision={bench.precision} has no effect on onnxruntime, which runs 32-true"
        yield Problem(text, "export the net with precision=fp16, and give the file", "precision")
