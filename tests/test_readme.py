"""The README's commands are run, and what they print is what the README shows.

Numbers that depend on the machine, and the names of run folders, are compared as `#`.
Renew the README with `pytest tests/test_readme.py --overwrite`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n\$ (?P<command>.*)\n(?P<output>(?:.*\n)*?)```\n")
SEVEN = 7


def printed(command: str, folder: Path) -> str:
    """What a terminal shows: stderr and stdout in one."""
    words = shlex.split(command)
    assert words[0] == "cnnctl"
    done = subprocess.run(
        [sys.executable, "-m", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},  # the README was written without a GPU
    )  # fmt: skip
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def masked(text: str) -> str:
    """Text without numbers, rules and the widths that follow from numbers."""
    text = re.sub(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_(\w+?)_(\w+?)_[0-9a-f]{4}", r"RUN_\1_\2", text)
    text = re.sub(r"sha256 +[0-9a-f]+", "sha256 #", text).replace(" thread)", " threads)")
    text = re.sub(r"\d[\d,.:]*", "#", text)
    text = text.replace("time # s", "time #")  # a minute and more is 0:01:02
    return re.sub(r"[ ─]+", " ", text)


def test_the_readme_shows_what_the_commands_print(tmp_path: Path, overwrite: bool) -> None:  # noqa: FBT001 - a fixture
    text = README.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == SEVEN
    now = {block["command"]: printed(block["command"], tmp_path) for block in blocks}
    if overwrite:
        renewed = BLOCK.sub(
            lambda m: f"```console\n$ {m['command']}\n{now[m['command']]}```\n", text
        )
        README.write_text(renewed, encoding="utf-8")
        return
    for block in blocks:
        assert masked(now[block["command"]]) == masked(block["output"]), block["command"]


def test_every_path_that_the_readme_names_is_there() -> None:
    text = README.read_text(encoding="utf-8")
    for name in re.findall(r"^- `([^`]+)`(?: and `([^`]+)`)?:", text, re.MULTILINE):
        for path in filter(None, name):
            assert (ROOT / path).is_file(), path


def test_every_option_that_the_readme_names_is_there() -> None:
    text = " ".join(README.read_text(encoding="utf-8").split())
    for group, pattern in {
        "optimizer": r"Optimizers: `([^`]+)`",
        "schedule": r"linear warm-up: `([^`]+)`",
        "hardware": r"Hardware: `([^`]+)`",
    }.items():
        named = re.search(pattern, text)
        assert named, group
        files = {file.stem for file in (ROOT / "conf" / group).glob("*.yaml")}
        assert set(named[1].split()) == files
