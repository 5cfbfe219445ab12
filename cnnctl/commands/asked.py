"""The command line of a verb that takes a trained net, sorted by what each key is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cnnctl.commands import Call
from cnnctl.config import compose, preflight, schema, verbs
from cnnctl.config.overrides import key_of, quoted
from cnnctl.config.read import read
from cnnctl.errors import Problem

T = TypeVar("T")
OF_WEIGHTS = ("model", "data")  # what a file of weights alone does not say


@dataclass(frozen=True)
class Asked:
    """A command line, sorted: keys of the verb itself, of the run, and those of neither.

    `of_weights` say which net and which images a file of weights is about; `doubled` has the
    problems with them where the target turns out to say so itself.
    """

    own: list[str]
    of_run: list[str]
    unknown: list[Problem]
    of_weights: list[str]
    doubled: list[Problem]

    @property
    def outputs(self) -> str:
        """Where runs are looked for by name."""
        given = [text.partition("=")[2] for text in self.of_run if key_of(text) == "outputs"]
        return given[-1].strip("'\"") if given else "outputs"


def asked(call: Call, cls: type, may: Sequence[str] = ()) -> Asked:
    """Sort the overrides of a call; `may` are sections of the run, or single keys of one.

    Unless told, those that the verb may change.
    """
    may = may or verbs.OF_RUN[cls]
    own, of_run, unknown, of_weights, doubled = [], [], [], [], []
    files = any(Path(target).expanduser().is_file() for target in call.targets)
    for override in [quoted(_bracketed(text, cls)) for text in call.overrides]:
        name = key_of(override)
        section = name.partition(".")[0]
        if section in may or name in may:
            of_run.append(override)
        elif name not in cls.__dataclass_fields__ and section in schema.Train.__dataclass_fields__:
            what = section if section not in {one.partition(".")[0] for one in may} else name
            text = f"'{override}' has no effect here: the run has its own {what}"
            problem = Problem(text, f"change {', '.join(may)} only", name)
            if files and section in OF_WEIGHTS:
                of_weights.append(override)
                doubled.append(problem)
            else:
                unknown.append(problem)
        else:
            own.append(override)
    return Asked(own, of_run, unknown, of_weights, doubled)


def keys(cls: type[T], ask: Asked) -> T:
    """The verb's own keys. Raises ConfigError. Call inside `compose.opened`."""
    config, problems = compose.compose(cls.__name__.lower(), ask.own)
    typed, found = read(cls, config)
    preflight.require(preflight.merge([*problems, *ask.unknown], found))
    assert typed is not None
    return typed


def _bracketed(override: str, cls: type) -> str:
    """`scales=224,256` with brackets: Hydra would take the values for a sweep."""
    name, equals, value = override.partition("=")
    bare = equals and not value.startswith(("[", "'", '"')) and value != "null"
    return f"{name}=[{value}]" if name in verbs.lists(cls) and bare else override
