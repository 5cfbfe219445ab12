from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnctl import __version__, cli
from cnnctl.commands import COMMON, SHORT, VERBS
from cnnctl.errors import CnnctlError, ConfigError, Problem, UsageError

LISTS = (
    "models, data, augments, losses, recipes, optimizers, schedules, hardware, loggers, "
    "transfers, runs"
)
RUNS = "cnnctl evaluate latest, or see: cnnctl list runs"
MISTAKES = [
    (["trian"], "unknown verb 'trian' (did you mean 'train'?)"),
    (["frobnicate"], "unknown verb 'frobnicate' (see: cnnctl --help)"),
    (["--verison"], "unknown option '--verison' (did you mean '--version'?)"),
    (["-x"], "unknown option '-x'"),
    (["show", "--jso"], "unknown option '--jso' of cnnctl show (did you mean '--json'?)"),
    (["train", "--bogus"], "unknown option '--bogus' of cnnctl train (see: cnnctl train --help)"),
    (["list", "-m"], "unknown option '-m' of cnnctl list (see: cnnctl list --help)"),
    (["train", "--config"], "--config needs a value (see: cnnctl train --help)"),
    (["train", "-c"], "--cfg needs a value (see: cnnctl train --help)"),
    (["train", "--json=1"], "--json takes no value, got '1'"),
    (["train", "lenet5"], "'lenet5' is not key=value (did you mean 'model=lenet5'?)"),
    (["train", "sgd"], "'sgd' is not key=value (did you mean 'optimizer=sgd'?)"),
    (["train", "it"], "'it' is not key=value (usage: cnnctl train [group=option …] [key=value …])"),
    (["list"], f"list takes one of {LISTS} (cnnctl list models)"),
    (["list", "modles"], f"cannot list 'modles'; one of {LISTS} (did you mean 'models'?)"),
    (["evaluate"], f"evaluate takes one run, got 0 ({RUNS})"),
]  # fmt: skip


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch):
    """Let `cnnctl list models` do something else."""

    def install(work) -> None:
        monkeypatch.setattr("cnnctl.commands.listing.run", work)

    return install


def test_version(cnnctl) -> None:
    assert cnnctl("--version") == (0, f"cnnctl {__version__}\n", "")


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",), ("help",)])
def test_the_overview_names_every_verb(cnnctl, words: tuple[str, ...]) -> None:
    code, out, err = cnnctl(*words)
    assert (code, err) == (0, "")
    for name, verb in VERBS.items():
        assert f"  {name:<11} {verb.summary}\n" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(("words", "text"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(cnnctl, words: list[str], text: str) -> None:
    assert cnnctl(*words) == (2, "", f"cnnctl: error: {text}\n")
    assert not list(Path.cwd().glob("outputs"))


@pytest.mark.parametrize("words", [words for words, _ in MISTAKES if "needs a value" not in _])
def test_a_mistake_is_one_document_with_json(cnnctl, words: list[str]) -> None:
    plain, outcome = cnnctl(*words), cnnctl(*words, "--json")
    assert (outcome.code, outcome.err) == (2, plain.err)
    document = outcome.document
    assert list(document) == ["schema", "command", "ok", "error"]
    assert (document["schema"], document["ok"]) == (1, False)
    assert document["command"] == (words[0] if words[0] in VERBS else None)
    error = document["error"]
    hint = f" ({error['hint']})" if error["hint"] else ""
    assert plain.err == f"cnnctl: error: {error['message']}{hint}\n"
    assert error["kind"] == "usage"


def test_words_are_sorted_into_targets_overrides_and_flags() -> None:
    call = cli.parse(
        ["evaluate", "latest", "--config-dir=a=b", "split=val", "~data", "--json", "-cd", "c"]
    )
    assert call.verb == "evaluate"
    assert call.targets == ["latest", "~data"]
    assert call.overrides == ["split=val"]
    assert call.flags == {"--config-dir": "c", "--json": ""}


def test_a_target_may_hold_an_equals_sign_where_such_a_file_exists() -> None:
    assert cli.parse(["evaluate", "epoch=9.ckpt"]).overrides == ["epoch=9.ckpt"]
    Path("epoch=9.ckpt").touch()
    assert cli.parse(["evaluate", "epoch=9.ckpt"]).targets == ["epoch=9.ckpt"]


@pytest.mark.parametrize(
    ("words", "value", "overrides"),
    [
        (["--info", "searchpath"], "searchpath", []),
        (["--info=searchpath", "seed=1"], "searchpath", ["seed=1"]),
        (["-i", "seed=1"], "", ["seed=1"]),
        (["--info", "--debug"], "", []),
        (["--info", "~recipe"], "", ["~recipe"]),
        (["--info"], "", []),
    ],
)
def test_an_optional_value_is_the_next_word_unless_it_is_something_else(
    words: list[str], value: str, overrides: list[str]
) -> None:
    call = cli.parse(["train", *words])
    assert (call.flags["--info"], call.overrides) == (value, overrides)


def test_short_flags_mean_long_ones() -> None:
    known = {
        **COMMON,
        **{name: what for verb in VERBS.values() for name, what in verb.flags.items()},
    }
    assert set(SHORT.values()) <= set(known)
    assert cli.parse(["train", "-m", "-h"]).flags == {"--multirun": "", "--help": ""}


@pytest.mark.parametrize(
    ("error", "code", "text", "kind"),
    [
        (CnnctlError("it broke", "try again"), 1, "error: it broke (try again)", "failed"),
        (ZeroDivisionError("by zero"), 1, "error: ZeroDivisionError: by zero", "crash"),
        (KeyboardInterrupt(), 130, "interrupted", "interrupted"),
    ],
)
def test_an_exception_is_one_line(
    cnnctl, verb, error: BaseException, code: int, text: str, kind: str
) -> None:
    def work(_call) -> None:
        raise error

    verb(work)
    assert cnnctl("list", "models") == (code, "", f"cnnctl: {text}\n")
    outcome = cnnctl("list", "models", "--json")
    assert (outcome.code, outcome.err) == (code, f"cnnctl: {text}\n")
    assert outcome.document["command"] == "list"
    assert outcome.document["error"]["kind"] == kind


def test_a_crash_says_that_it_is_a_bug_and_debug_raises_it(cnnctl, verb) -> None:
    verb(lambda _call: {}["missing"])
    error = cnnctl("list", "models", "--json").document["error"]
    hint = "this is a bug; --debug shows where"
    assert error == {"kind": "crash", "message": "KeyError: 'missing'", "hint": hint}
    with pytest.raises(KeyError):
        cli.main(["list", "models", "--debug"])


def test_debug_raises_also_what_the_user_has_to_change() -> None:
    with pytest.raises(UsageError, match="cannot list 'nothing'"):
        cli.main(["list", "nothing", "--debug"])


def test_every_problem_has_its_line_and_the_document_names_them_all(cnnctl, verb) -> None:
    def work(_call) -> None:
        raise ConfigError([Problem("first"), Problem("second", "mend it")])

    verb(work)
    code, out, err = cnnctl("list", "models", "--json")
    assert (code, err) == (2, "cnnctl: error: first\ncnnctl: error: second (mend it)\n")
    error = {"kind": "config", "message": "first; second", "hint": "mend it"}
    assert json.loads(out) == {"schema": 1, "command": "list", "ok": False, "error": error}


@pytest.mark.parametrize("words", [["--help"], ["list", "models"], ["list", "models", "--json"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_no_error_message(words: list[str], unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "cnnctl", *words], stdout=writing, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_module_is_the_command(process) -> None:
    assert process("--version") == (0, f"cnnctl {__version__}\n", "")
    assert process("trian").code == 2


def test_sigterm_clears_away_what_is_half_done(tmp_path) -> None:
    words = ["bench", "resnet50", "seconds=60", "batch=1", "engines=eager"]
    command = [sys.executable, "-m", "cnnctl", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        while "libtorch_cpu" not in Path(f"/proc/{started.pid}/maps").read_text():
            time.sleep(0.1)
        started.terminate()
        _, told = started.communicate(timeout=60)
    assert (started.returncode, told) == (143, "cnnctl: stopped by SIGTERM\n")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
