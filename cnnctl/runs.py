"""Run folders: made, found, listed and read, all without torch.

outputs/train/2026-11-21_14-03-19_lenet5_digits_7f3a/
    config.yaml     the whole configuration; `cnnctl train --config` replays it
    plan.json       what was decided before the first step
    split.json      the images of the splits that were cut off train at random
    metrics.csv     one row per epoch
    result.json     figures, hashes and versions; written last
    checkpoints/    best.ckpt and last.ckpt
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from cnnctl.config.near import did_you_mean
from cnnctl.errors import RunError

CONFIG, PLAN, METRICS, RESULT = "config.yaml", "plan.json", "metrics.csv", "result.json"
SPLIT = "split.json"
CHECKPOINTS, BEST, LAST = "checkpoints", "best.ckpt", "last.ckpt"
LATEST = "latest"
SMOKE = "smoke"  # the folder of runs that are only to be tried
LOCK = ".lock"


def create(outputs: str, verb: str, *words: str, checkpoints: bool = True) -> Path:
    """Make the folder of a new run, with a place for its checkpoints; two runs never share one.

    Raises RunError if it cannot be made, with nothing left behind.
    """
    parent = Path(outputs).expanduser() / verb
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")  # noqa: DTZ005 - the user's own clock names the folder
            run = parent / "_".join(
                [now, *(word.replace("/", "-") for word in words), secrets.token_hex(2)]
            )
            try:
                run.mkdir()
            except FileExistsError:
                continue
            if checkpoints:
                (run / CHECKPOINTS).mkdir()
            return run
    except OSError as wrong:
        text = f"cannot make a run folder in {parent}: {wrong.strerror}"
        raise RunError(text, "choose another folder with outputs=…") from wrong


def find(target: str, outputs: str = "outputs", *, finished: bool = True) -> Path:
    """The run that `target` names: a folder, the name of one under outputs, or `latest`.

    That one has finished, or not, as it is wanted. Raises RunError if there is none.
    """
    if Path(target).exists():
        run = Path(target)
    elif target == LATEST:
        earnest = [run for run in listed(outputs) if run.parent.name != SMOKE]
        found = [run for run in earnest if (run / RESULT).is_file() is finished]
        if not found:
            kind = "finished" if finished else "unfinished"
            raise RunError(f"no {kind} run in {outputs}", "make one with: cnnctl train")
        return found[-1]
    else:
        names = {run.name: run for run in listed(outputs)}
        if target not in names:
            hint = did_you_mean(target, names) or "see them with: cnnctl list runs"
            raise RunError(f"no run '{target}' in {outputs}", hint)
        run = names[target]
    if not (run / CONFIG).is_file():
        raise RunError(f"{target} is no run: it has no {CONFIG}", "see runs with: cnnctl list runs")
    return run


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep all other processes from training this run until the block ends, or the process.

    Raises RunError, naming the other one, if there is one.
    """
    try:
        file = (run / LOCK).open("a+", encoding="utf-8")
    except OSError as wrong:
        raise RunError(f"cannot write in {run}: {wrong.strerror}") from wrong
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # forked loaders do not inherit it
        except OSError as wrong:
            if wrong.errno not in (errno.EACCES, errno.EAGAIN):
                raise RunError(f"cannot lock {run}: {wrong.strerror}") from wrong
            file.seek(0)
            text = f"{run} is being trained by {file.read().strip() or 'another process'}"
            raise RunError(text, "wait for it, or end it") from wrong
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def reopen(run: Path) -> None:
    """Train in a run folder, perhaps once more: it has no result now, and a place for checkpoints.

    Raises RunError if nothing can be written there.
    """
    try:
        (run / RESULT).unlink(missing_ok=True)
        (run / CHECKPOINTS).mkdir(exist_ok=True)
    except OSError as wrong:
        raise RunError(f"cannot write in {run}: {wrong.strerror}") from wrong


def listed(outputs: str) -> list[Path]:
    """All runs under `outputs`, oldest first."""
    return sorted(
        (file.parent for file in Path(outputs).expanduser().glob(f"*/*/{CONFIG}")),
        key=lambda run: run.name,
    )


def read_config(file: Path) -> dict[str, Any]:
    """A saved configuration. Raises RunError, naming file and line, if it cannot be read."""
    try:
        config = yaml.load(file.read_text(encoding="utf-8"), Loader=Loader)  # noqa: S506 - a subclass of SafeLoader
    except OSError as wrong:
        raise RunError(f"cannot read {file}: {wrong.strerror}") from wrong
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        mark = getattr(wrong, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        raise RunError(f"{place}: not valid YAML") from wrong
    if not isinstance(config, dict):
        raise RunError(f"{file} is no configuration", "give the config.yaml of a run")
    return config


def write_config(run: Path, config: dict[str, Any]) -> None:
    """Save the configuration so that `read_config` gives it back."""
    text = yaml.dump(config, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    head = f"# Replay this run:  cnnctl train --config {run / CONFIG}\n"
    write(run / CONFIG, head + text)


def write_json(file: Path, document: dict[str, Any]) -> None:
    """Save a document, whole or not at all."""
    write(file, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write(file: Path, text: str) -> None:
    """Write beside, then rename: a reader sees the old file or the new one."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as wrong:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        text = f"cannot write {file}: {wrong.strerror}"
        raise RunError(text, "choose another folder with outputs=…") from wrong


def read_plan(run: Path) -> dict[str, Any]:
    """What was decided before the run. Raises RunError if it cannot be read."""
    try:
        return json.loads((run / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise RunError(f"cannot read {run / PLAN}", "see runs with: cnnctl list runs") from wrong


def read_result(run: Path) -> dict[str, Any] | None:
    """The result of a run, or None if it has none (yet)."""
    try:
        found = json.loads((run / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found else None


class Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but `1e-8` is a number, as it is in the groups of conf/."""


class Dumper(yaml.SafeDumper):
    """The counterpart of Loader: the text `1e-8` is put in quotes."""


for side in (Loader, Dumper):
    side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+"), list("-+0123456789")
    )
