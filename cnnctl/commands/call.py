"""A command line, and what a verb takes. This much is imported by help and completion."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself is not imported: it would slow down `cnnctl --help`
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FLAG, VALUE, OPTIONAL = "flag", "value", "optional"  # takes nothing, a value, perhaps a value


class Verb:
    """What a verb does, what it takes, and which module runs it."""

    __slots__ = ("about", "flags", "module", "summary", "takes_target", "usage")

    def __init__(  # noqa: PLR0913 - a record; dataclasses would double the time of --help
        self,
        summary: str,
        usage: str,
        about: str,
        *,
        takes_target: bool = False,
        flags: Mapping[str, tuple[str, str]] = {},
        module: str | None = None,
    ) -> None:
        self.summary = summary
        self.usage = usage
        self.about = about
        self.takes_target = takes_target
        self.flags = flags
        self.module = module


class Call:
    """One command line: the verb, its targets, its overrides and its flags."""

    __slots__ = ("flags", "overrides", "targets", "verb")

    def __init__(
        self, verb: str, targets: Sequence[str], overrides: Sequence[str], flags: Mapping[str, str]
    ) -> None:
        self.verb = verb
        self.targets = targets
        self.overrides = overrides
        self.flags = flags
