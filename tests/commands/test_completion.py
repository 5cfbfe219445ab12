from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cnnctl.commands import VERBS, completion, listing
from cnnctl.commands.completion import candidates
from cnnctl.config import keys

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    shell: (ROOT / "cnnctl/commands/shells" / shell).read_text() for shell in completion.SHELLS
}

SHELLS = {  # interactive, without the user's own settings, and how each loads its script
    "bash": (["--norc", "--noprofile", "-i"], 'eval "$(cnnctl completion bash)"'),
    "zsh": (["-f", "-i"], 'eval "$(cnnctl completion zsh)"'),
    "fish": (["--private", "-i"], "cnnctl completion fish | source"),
}
TYPED = [  # what is typed, and what must then be on the terminal
    ("cnnctl tr\t", ["train "]),
    ("cnnctl train mod\t", ["model="]),
    ("cnnctl train schedule=\t\t", ["constant", "plateau"]),
    ("cnnctl train optimizer.\t\t", ["betas=", "lr=", "weight_decay="]),
    ("cnnctl train --config pho\t", ["photo.yaml "]),
    ("cnnctl \t\t", ["completion", "evaluate", "list", "show"]),
]
SECONDS = 60  # for a machine under load; what is waited for comes in one or two
ESCAPES = re.compile(r"\x1b(\[[0-9;?>=]*[a-zA-Z]|\][^\x07\x1b]*\x07|[()][A-Z0-9]|[=>78])")
LINE_START = "\x15"  # Ctrl-U: away with what has been typed
Screen = Callable[[str, list[str]], str]


@pytest.fixture(params=sorted(SHELLS))
def terminal(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Screen]:
    name = request.param
    if name != "bash" and shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    command = tmp_path / "bin" / "cnnctl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cnnctl "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("INPUTRC", os.devnull)
    child, master = _started(name)

    def shown(typed: str, wanted: list[str]) -> str:
        """What is on the terminal, once all the wanted texts are."""
        os.write(master, typed.encode())
        seen, end = "", time.monotonic() + SECONDS
        while not all(text in seen for text in wanted):
            ready, _, _ = select.select([master], [], [], max(0, end - time.monotonic()))
            assert ready, f"{wanted} not in {seen!r}"
            seen = ESCAPES.sub("", seen + os.read(master, 4096).decode(errors="replace"))
        return seen

    shown(f"{SHELLS[name][1]}; echo rea''dy\n", ["ready"])
    yield shown
    os.close(master)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _started(name: str) -> tuple[int, int]:
    child, master = pty.fork()
    if child == 0:
        os.execvp(name, [name, *SHELLS[name][0]])  # noqa: S606 - a shell is what is tested
    return child, master


def test_a_real_shell_completes_verbs_groups_options_keys_and_files(terminal: Screen) -> None:
    Path("photo.yaml").touch()
    for typed, wanted in TYPED:
        terminal(LINE_START + typed, wanted)


@pytest.mark.parametrize(
    ("before", "current", "found"),
    [
        ([], "", sorted(VERBS)),
        ([], "tr", ["train"]),
        (["trian"], "", []),
        (["train"], "--d", ["--debug", "--dry-run"]),
        (["list"], "--d", ["--debug"]),
        (["list"], "re", ["recipes"]),
        (["completion"], "", ["bash", "fish", "zsh"]),
        (["train"], "mod", ["model="]),
        (["train"], "augment=s", ["augment=shift", "augment=shift_rotate"]),
        (["train", "--json"], "model=lene", ["model=lenet5", "model=lenet5_1998"]),
        (["show"], "+rec", ["+recipe="]),
        (["train"], "loss=", ["loss=cross_entropy", "loss=dice", "loss=focal", "loss=own"]),
        (
            ["train", "loss=focal"],
            "loss.",
            ["loss.border=", "loss.gamma=", "loss.name=", "loss.weights="],
        ),
        (["list"], "lo", ["loggers", "losses"]),
        (["train"], "data=nothing", []),
        (["train", "--config"], "", []),
        (["train", "-cd"], "m", []),
        (["evaluate"], "split=", ["split=test", "split=train", "split=val"]),
        (["train"], "schedule.f", ["schedule.final="]),
        (["train"], "progr", ["progress="]),
        (["train", "optimizer=sgd"], "optimizer.m", ["optimizer.momentum="]),
        (["train", "optimizer=adam"], "optimizer.m", []),
    ],
)
def test_candidates(before: list[str], current: str, found: list[str]) -> None:
    assert candidates(before, current) == found


def test_groups_of_the_user_are_completed_too() -> None:
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mynet.yaml").write_text("name: mynet\n")
    assert candidates(["train"], "model=my") == ["model=mynet"]


def test_what_list_takes_is_completed() -> None:
    assert completion.LISTS == listing.WHAT
    assert candidates(["list"], "") == sorted(listing.WHAT)


def test_keys_come_from_the_cache_until_a_configuration_file_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    option = Path("conf/optimizer/mine.yaml")
    option.parent.mkdir(parents=True)
    option.write_text("name: sgd\n")
    candidates(["train"], "seed")
    cache = Path.home() / ".cache" / "cnnctl" / "keys_train.json"
    kept = json.loads(cache.read_text())
    assert "optimizer.lr" in kept["keys"]
    assert [file.name for file in cache.parent.iterdir()] == ["keys_train.json"]
    composed: list[list[str]] = []
    monkeypatch.setattr(
        keys, "_composed_keys", lambda overrides, _root: composed.append(overrides) or ["new.key"]
    )
    assert candidates(["train"], "optimizer.lr") == ["optimizer.lr="]
    assert composed == []
    os.utime(option, ns=(1, 1))
    assert candidates(["train"], "new.") == ["new.key="]
    assert candidates(["train"], "new.") == ["new.key="]
    assert composed == [[]]
    candidates(["train", "optimizer=sgd"], "new.")
    assert composed == [[], ["optimizer=sgd"]]


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"stamp": 1}'])
def test_a_damaged_cache_is_written_anew(text: str) -> None:
    cache = Path.home() / ".cache" / "cnnctl" / "keys_train.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(text)
    assert candidates(["train"], "optimizer.lr") == ["optimizer.lr="]
    assert "optimizer.lr" in json.loads(cache.read_text())["keys"]


def test_keys_are_completed_where_no_cache_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", "file/below")
    assert candidates(["train"], "optimizer.lr") == ["optimizer.lr="]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("cnnctl tr", ["train"]),
        ("cnnctl  train   --dry", ["--dry-run"]),
        ("cnnctl", sorted(VERBS)),
    ],
)
def test_the_scripts_get_one_candidate_a_line(
    cnnctl, monkeypatch: pytest.MonkeyPatch, line: str, lines: list[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    outcome = cnnctl("__complete")
    assert (outcome.code, outcome.out.splitlines(), outcome.err) == (0, lines, "")


def test_a_prompt_is_no_place_for_an_error(cnnctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "cnnctl train model=")
    monkeypatch.setenv("CNNCTL_CONFIG_DIR", "missing")
    assert cnnctl("__complete") == (1, "", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_is_printed_as_it_is(cnnctl, shell: str) -> None:
    assert cnnctl("completion", shell) == (0, SCRIPTS[shell], "")
    document = cnnctl("completion", shell, "--json").document
    assert document["result"] == {"shell": shell, "text": SCRIPTS[shell]}


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        (("bsh",), "completion takes one of bash, zsh, fish, got bsh (did you mean 'bash'?)"),
        ((), "completion takes one of bash, zsh, fish, got nothing"),
        (("csh",), "completion takes one of bash, zsh, fish, got csh (did you mean 'zsh'?)"),
    ],
)
def test_other_shells_are_refused(cnnctl, targets: tuple[str, ...], text: str) -> None:
    assert cnnctl("completion", *targets) == (2, "", f"cnnctl: error: {text}\n")
