"""argv to command to exit code. Imports neither torch nor hydra: help and typos are quick.

    cnnctl VERB [TARGET…] [group=choice …] [key=value …] [--flags]

Exit codes: 0 ok, 1 failed, 2 usage or configuration, 130 interrupted, 143 SIGTERM.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

from cnnctl import __version__
from cnnctl.commands import COMMON, FLAG, OPTIONAL, SHORT, VERBS, Call, Verb
from cnnctl.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    CnnctlError,
    Terminated,
    UsageError,
)

TYPE_CHECKING = False  # typing itself is not imported: it would slow down `cnnctl --help`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

RANK = "_rank"  # for the product itself: one process of a run of several
# made before Python looks for garbage; usually 700, at which a tenth of importing torch is looking
OBJECTS = 50_000
SEE_HELP = "see: cnnctl --help"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    if argv is None:  # a program of its own, not a call from another
        gc.set_threshold(OBJECTS)
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["__complete"]:
        return importlib.import_module("cnnctl.commands.completion").complete()
    try:
        code = _run(words, alone=argv is None)
        sys.stdout.flush()  # here a broken pipe can still be caught
    except CnnctlError as error:
        if "--debug" in words:
            raise
        _fail(words, error.kind, error.message, error.hint, str(error))
        return error.exit_code
    except (KeyboardInterrupt, Terminated) as stopped:
        killed = isinstance(stopped, Terminated)
        text = "stopped by SIGTERM" if killed else "interrupted"
        _fail(words, "interrupted", text, None, text)
        return EXIT_TERMINATED if killed else EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone, as in `cnnctl list models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        if "--debug" in words:
            raise
        text = f"{type(error).__name__}: {error}"
        _fail(words, "crash", text, "this is a bug; --debug shows where", text)
        return EXIT_FAILED
    return code


def _end_on_sigterm() -> None:
    """Let SIGTERM clear away what is half done, as Ctrl-C does; training has its own handler.

    Processes that are forked from this one end as they would without it.
    """
    import signal

    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # ignored, or a caller's own
        return
    own = os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() == own:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def parse(words: Sequence[str]) -> Call:
    """The words after `cnnctl` as a Call. Raises UsageError."""
    name, rest = words[0], list(words[1:])
    if name not in VERBS:
        raise UsageError(f"unknown verb '{name}'", _near(name, VERBS) or SEE_HELP)
    verb = VERBS[name]
    targets: list[str] = []
    overrides: list[str] = []
    flags: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            flag, value = _flag(name, verb, word, rest)
            flags[flag] = value
        elif verb.takes_target and _is_target(word):
            targets.append(word)
        elif "=" in word or word.startswith("~"):
            overrides.append(word)
        else:
            raise UsageError(f"'{word}' is not key=value", _setting(word) or f"usage: {verb.usage}")
    return Call(name, targets, overrides, flags)


def _run(words: list[str], *, alone: bool) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(f"cnnctl {__version__}")
        return 0
    if words[0].startswith("-"):
        raise UsageError(f"unknown option '{words[0]}'", _near(words[0], ("--help", "--version")))
    if words[0] == RANK:
        importlib.import_module("cnnctl.commands.rank").run(Call(RANK, words[1:], (), {}))
        return 0
    call = parse(words)
    if "--help" in call.flags:
        help_page = importlib.import_module("cnnctl.commands.help")
        print(help_page.page(call.verb))
        return 0
    if alone:
        _end_on_sigterm()
    module = VERBS[call.verb].module or call.verb
    result = importlib.import_module(f"cnnctl.commands.{module}").run(call)
    if result is None or os.environ.get("RANK", "0") != "0":  # the first process shows it
        return 0
    _print(call, result)
    return result.code


def _print(call: Call, result: Any) -> None:
    if "--json" in call.flags:
        document = importlib.import_module("cnnctl.report.document")
        print(document.success(call.verb, result.data))
    else:
        importlib.import_module("cnnctl.report.console").render(result)


def _fail(words: list[str], kind: str, message: str, hint: str | None, text: str) -> None:
    several = words[:1] == [RANK] or os.environ.get("RANK", "0") != "0"
    if kind == "interrupted" and several:  # one of them says it
        return
    for line in text.splitlines():
        mark = "" if kind == "interrupted" else "error: "
        print(f"cnnctl: {mark}{line}", file=sys.stderr)
    if "--json" in words:
        verb = next((word for word in words if word in VERBS), None)
        document = importlib.import_module("cnnctl.report.document")
        print(document.failure(verb, kind, message, hint))


def _is_target(word: str) -> bool:
    """A name, a file, or a class with its arguments: nets.py:Net(width=8)."""
    before, equals, _ = word.partition("=")
    return not equals or ".py:" in before or os.path.exists(word)  # noqa: PTH110 - pathlib would slow down the start


def _flag(name: str, verb: Verb, word: str, rest: list[str]) -> tuple[str, str]:
    """A flag with its value: from `--flag=value`, or from the next word, which leaves `rest`."""
    given, equals, value = word.partition("=")
    flag = SHORT.get(given, given)
    known = {**COMMON, **verb.flags}
    if flag not in known:
        hint = _near(given, known) or f"see: cnnctl {name} --help"
        raise UsageError(f"unknown option '{given}' of cnnctl {name}", hint)
    takes = known[flag][0]
    if takes == FLAG and equals:
        raise UsageError(f"{flag} takes no value, got '{value}'")
    bare = bool(rest) and "=" not in rest[0] and not rest[0].startswith(("-", "~"))
    if takes == FLAG or equals or (takes == OPTIONAL and not bare):
        return flag, value
    if not rest:
        raise UsageError(f"{flag} needs a value", f"see: cnnctl {name} --help")
    return flag, rest.pop(0)


def _near(word: str, known: Sequence[str] | dict[str, Any]) -> str | None:
    near = importlib.import_module("cnnctl.config.near")  # only when something is mistyped
    return near.did_you_mean(word, known)


def _setting(word: str) -> str | None:
    """`resnet50` is an option of the group model: say model=resnet50."""
    paths = importlib.import_module("cnnctl.config.paths")
    for group, options in paths.config_files().items():
        if word in options:
            return f"did you mean '{group}={word}'?"
    return None


def overview() -> str:
    """What `cnnctl --help` prints."""
    verbs = "\n".join(f"  {name:<11} {verb.summary}" for name, verb in VERBS.items())
    return (
        "usage: cnnctl VERB [TARGET…] [group=option …] [key=value …] [--flags]\n\n"
        "The command-line bench for convolutional networks.\n\n"
        f"{verbs}\n\n"
        "  cnnctl train                     LeNet-5 on handwritten digits\n"
        "  cnnctl train model=mlp seed=1    another net, another seed\n"
        "  cnnctl VERB --help               what a verb takes\n"
        "  cnnctl --version"
    )
