"""Every way in which a command can fail, and its exit code.

    CnnctlError              exit 1   the work failed
    ├── TrainingError                 no number comes out of a step, or it does not fit into memory
    ├── ExportError                   an exported file does not compute what the net computes
    ├── Stopped          exit 130,143 a signal ended the run, which can be resumed
    └── UserError            exit 2   something given by the user has to change
        ├── UsageError                the command line: verb, option, target
        ├── ConfigError               keys and values, all problems at once
        ├── DataError                 images, classes, splits
        ├── NetError                  a network that cannot be built on this input
        │   └── SmallImageError       images of which a layer leaves nothing
        ├── RunError                  a run folder, or the folder for runs
        └── CheckpointError           a checkpoint that cannot be read or does not fit

A command that is interrupted exits with 130, with 143 on SIGTERM. The text of an error says
what was given and what is allowed; its hint says what to type instead.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself is not imported: it would slow down `cnnctl --help`
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXIT_FAILED = 1
EXIT_USER = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class Problem:
    """One line about one thing that is wrong, with what to type instead.

    `key` is the configuration key it is about, if any.
    """

    __slots__ = ("hint", "key", "message")

    def __init__(self, message: str, hint: str | None = None, key: str | None = None) -> None:
        self.message = message
        self.hint = hint
        self.key = key

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"


class CnnctlError(Exception):
    """The work failed for a reason that can be told in one line."""

    exit_code = EXIT_FAILED
    kind = "failed"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)  # both, so that the error survives pickling
        self.problems: Sequence[Problem] = (Problem(message, hint),)

    @property
    def message(self) -> str:
        """All problems in one text, without the hints."""
        return "; ".join(problem.message for problem in self.problems)

    @property
    def hint(self) -> str | None:
        """What to type instead: the hint of the first problem that has one."""
        return next((problem.hint for problem in self.problems if problem.hint), None)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class TrainingError(CnnctlError):
    """Training cannot go on."""

    kind = "training"


class ExportError(CnnctlError):
    """A file cannot be made of a net, or does not compute what the net computes."""

    kind = "export"


class Stopped(CnnctlError):  # noqa: N818 - not an error of the command
    """A signal ended the run after a step; `number` is the signal's."""

    kind = "interrupted"

    def __init__(self, message: str, hint: str | None, number: int) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, number)  # so that the error survives pickling
        self.exit_code = 128 + number


class Terminated(BaseException):
    """SIGTERM has come while nothing is being trained: what is half done is cleared away."""


class UserError(CnnctlError):
    """Something that the user gave has to change."""

    exit_code = EXIT_USER
    kind = "user"


class UsageError(UserError):
    """An unknown verb, option or target."""

    kind = "usage"


class ConfigError(UserError):
    """Keys or values that do not fit, all of them at once."""

    kind = "config"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        Exception.__init__(self, self.problems)


class DataError(UserError):
    """Images, classes or splits that cannot be used."""

    kind = "data"


class NetError(UserError):
    """A network that cannot be built from these numbers on this input."""

    kind = "net"


class SmallImageError(NetError):
    """Images of which a layer leaves nothing."""

    kind = "small_image"


class RunError(UserError):
    """A folder that is no run, or that cannot hold one."""

    kind = "run"


class CheckpointError(UserError):
    """A checkpoint that cannot be read, or that belongs to another network."""

    kind = "checkpoint"
